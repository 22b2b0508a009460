"""The taskiq broker of the tests: `taskiq worker tests.integrations.taskiq_app:broker`."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated

from taskiq import Context, SimpleRetryMiddleware, TaskiqDepends
from taskiq.depends.progress_tracker import ProgressTracker
from taskiq.exceptions import NoResultError
from taskiq_redis import ListQueueBroker, RedisAsyncResultBackend, RedisStreamBroker

import worker.integrations as jobcast
from tests.liveness import wait_until
from worker.integrations.taskiq import install

FOLDER = Path(os.environ["TEST_FOLDER"])
URL = os.environ["BROKER_URL"]

broker: ListQueueBroker | RedisStreamBroker
if "STREAM" in os.environ:
    broker = RedisStreamBroker(URL, xread_block=100, idle_timeout=2_000, consumer_id="0")
else:
    # It waits for messages for longer than the client waits for answers unless told.
    broker = ListQueueBroker(URL, socket_timeout=None)
broker = broker.with_result_backend(RedisAsyncResultBackend(URL)).with_middlewares(
    SimpleRetryMiddleware(default_retry_count=3)
)
install(broker, session_of=lambda name, args, kwargs: kwargs.get("user"), lease=3)

Ctx = Annotated[Context, TaskiqDepends()]
Tracker = Annotated[ProgressTracker[dict[str, object]], TaskiqDepends()]


async def until(name: str) -> None:
    """Returns once there is such a file."""
    await wait_until((FOLDER / name).exists, 60)


@broker.task("add")
async def add(a: int, b: int, tracker: Tracker, user: str | None = None) -> int:
    await tracker.set_progress("adding", {"current": 1, "total": 4})
    jobcast.log(f"{a} + {b}")
    return a + b


@broker.task("boom")
async def boom() -> None:
    raise ValueError("it broke")


@broker.task("flaky")
async def flaky(fails: int, ctx: Ctx) -> str:
    retries = int(ctx.message.labels.get("_retries", 0))
    if retries < fails:
        raise ConnectionError("not yet")
    return f"attempt {retries + 1}"


@broker.task("wait")
async def wait(name: str = "go") -> str:
    (FOLDER / "started").touch()
    await until(name)
    return name


@broker.task("requeues")
async def requeues(ctx: Ctx) -> str:
    if "X-Taskiq-requeue" not in ctx.message.labels:
        await ctx.requeue()
    return "the second time"


@broker.task("nothing")
async def nothing() -> None:
    raise NoResultError


@broker.task("in_a_thread")
def in_a_thread() -> str:
    jobcast.progress(3, 4, message="in a thread")
    (FOLDER / "started").touch()
    while not jobcast.cancel_requested():
        time.sleep(0.01)
    return "asked to stop"
