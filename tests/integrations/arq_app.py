"""The arq worker of the tests: `arq tests.integrations.arq_app.WorkerSettings`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from arq import Retry, cron, func
from arq.connections import RedisSettings

import worker.integrations as jobcast
from tests.liveness import wait_until
from worker.integrations.arq import install

FOLDER = Path(os.environ["TEST_FOLDER"])
Ctx = dict[str, Any]


async def add(ctx: Ctx, a: int, b: int, user: str | None = None) -> int:
    jobcast.progress(1, 4, message="adding")
    jobcast.log(f"{a} + {b}")
    return a + b


async def boom(ctx: Ctx) -> None:
    raise ValueError("it broke")


async def flaky(ctx: Ctx, fails: int) -> str:
    if ctx["job_try"] <= fails:
        try:
            raise ConnectionError("not yet")
        except ConnectionError as error:
            raise Retry(defer=0.2) from error
    return f"attempt {ctx['job_try']}"


async def wait(ctx: Ctx, name: str = "go") -> str:
    (FOLDER / "started").touch()
    await wait_until((FOLDER / name).exists, 60)
    return name


async def queues(ctx: Ctx) -> str:
    await ctx["redis"].enqueue_job("add", 1, 2, jobcast_session="s2")
    return "queued"


async def every_second(ctx: Ctx) -> str:
    return "fired"


async def started(ctx: Ctx) -> None:
    (FOLDER / "on_startup").touch()


async def ended(ctx: Ctx) -> None:
    (FOLDER / "after_job_end").touch()


class WorkerSettings:
    """What `arq` runs."""

    functions = (
        *(add, boom, queues),
        func(flaky, max_tries=3),
        wait,
        func(wait, name="slow", timeout=0.5),
        func(wait, name="forgotten", timeout=0.5, keep_result=0),
    )
    cron_jobs = [cron(every_second, second=set(range(60)))] if "CRON" in os.environ else []
    redis_settings = RedisSettings.from_dsn(os.environ["BROKER_URL"])
    on_startup = started
    after_job_end = ended
    poll_delay = 0.05
    allow_abort_jobs = True


def session_of(name: str, args: Any, kwargs: Any) -> str | None:
    """Users have sessions; so has what a clock starts."""
    found: str | None = "cron" if name == "cron:every_second" else kwargs.get("user")
    return found


install(WorkerSettings, session_of=session_of, lease=3)
