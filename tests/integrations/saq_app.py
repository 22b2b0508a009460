"""The SAQ worker of the tests: `saq tests.integrations.saq_app.settings`."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from saq import Queue
from saq.types import Context

import worker.integrations as jobcast
from tests.liveness import wait_until
from worker.integrations.saq import install

FOLDER = Path(os.environ["TEST_FOLDER"])

queue = install(
    Queue.from_url(os.environ["BROKER_URL"]),
    session_of=lambda job: (job.kwargs or {}).get("user"),
    lease=3,
)


async def until(name: str) -> None:
    """Returns once there is such a file."""
    await wait_until((FOLDER / name).exists, 60)


async def add(ctx: Context, *, a: int, b: int, user: str | None = None) -> int:
    await ctx["job"].update(progress=0.25)
    jobcast.log(f"{a} + {b}")
    return a + b


async def boom(ctx: Context) -> None:
    raise ValueError("it broke")


async def flaky(ctx: Context, *, fails: int) -> str:
    if ctx["job"].attempts <= fails:
        raise ConnectionError("not yet")
    return f"attempt {ctx['job'].attempts}"


async def wait(ctx: Context, *, name: str = "go") -> str:
    (FOLDER / "started").touch()
    await until(name)
    return name


def in_a_thread(ctx: Context) -> str:
    jobcast.progress(3, 4, message="in a thread")
    (FOLDER / "started").touch()
    while not jobcast.cancel_requested():
        time.sleep(0.01)
    return "asked to stop"


settings: dict[str, Any] = {
    "queue": queue,
    "functions": [add, boom, flaky, wait, in_a_thread],
    "concurrency": 4,
    # Less than the client waits for an answer.
    "dequeue_timeout": 3,
    # Whole seconds: each is also the time for which one worker alone does it.
    "timers": {"sweep": 1, "schedule": 1},
}
