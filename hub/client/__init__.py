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

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
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
    from hub.client.want import wanted
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

#: Which module has what. Each client needs half a second of imports that the others do not.
_MODULES: Final = {
    "client": "Client",
    "direct": "Jobs",
    "errors": "NotInTime SessionDeleted Unexpected Unreachable",
    "events": "Event Hello JobEvent LogEvent LogGap MessageEvent PartialMessage ProgressEvent",
    "sync": "SyncClient",
    "view": "View",
    "want": "wanted",
    "wire": "Lost",
}
_HOMES: Final = {name: home for home, names in _MODULES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    # PEP 562. No submodule may be named as what is in one: it would come instead.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(f"hub.client.{_HOMES[name]}"), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
