"""Python clients of a hub.

    from hub.client import Client

    async with Client("http://127.0.0.1:8080", token) as client:
        queued = await client.enqueue("run_tests", {"selector": "tests"}, session_id="s1")
        async for event in client.subscribe("s1"):
            ...

`Client` is for asyncio, `SyncClient` its blocking twin, and `Jobs` speaks to Redis itself, for
back ends beside it. `wanted` takes what `enqueue` takes and makes one of the jobs that
`enqueue_many` queues at once. What they raise is drawn in `hub.client.errors`.
"""

from hub.client.client import Client
from hub.client.direct import Jobs
from hub.client.errors import NotInTime, SessionDeleted, Unexpected, Unreachable
from hub.client.events import (
    Event,
    Hello,
    JobEvent,
    LogEvent,
    LogGap,
    MessageEvent,
    PartialMessage,
    ProgressEvent,
)
from hub.client.sync import SyncClient
from hub.client.view import View
from hub.client.wanted import wanted
from hub.client.wire import Lost

__all__ = [
    "Client",
    "Event",
    "Hello",
    "JobEvent",
    "Jobs",
    "LogEvent",
    "LogGap",
    "Lost",
    "MessageEvent",
    "NotInTime",
    "PartialMessage",
    "ProgressEvent",
    "SessionDeleted",
    "SyncClient",
    "Unexpected",
    "Unreachable",
    "View",
    "wanted",
]
