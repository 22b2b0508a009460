"""What the workers of a chaos run do. Every effect is a line in one append-only file, with the
token of the claim under which it was made; the order of the lines is the order of the effects."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from typing import Any

from worker import Context, Fail, Retry, SyncContext, task

EFFECTS = "CHAOS_EFFECTS"
MARK = "CHAOS_MARK"
BEAT = 0.05


class Claimed:
    """The claim that the code runs under. Contexts do not show its token, so it is taken from
    behind them."""

    def __init__(self, ctx: Context) -> None:
        claim: Any = ctx._link._claim  # type: ignore[attr-defined]
        self.job_id: str = claim.job_id
        self.token: str = claim.token

    def note(self, what: str) -> None:
        """One line, written in one call: lines of many processes do not mix."""
        fd = os.open(os.environ[EFFECTS], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            os.write(fd, f"{self.job_id} {self.token} {what}\n".encode())
        finally:
            os.close(fd)


@task
async def instant(ctx: Context) -> str:
    """Ends at once."""
    claimed = Claimed(ctx)
    claimed.note("start")
    claimed.note("end")
    return claimed.token


@task
async def slow(ctx: Context, seconds: float) -> str:
    """Takes its time, and tells of it."""
    claimed = Claimed(ctx)
    claimed.note("start")
    steps = max(1, int(seconds / BEAT))
    for step in range(steps):
        await asyncio.sleep(BEAT)
        claimed.note("beat")
        await ctx.progress(step + 1, steps)
        await ctx.log(claimed.token)
    claimed.note("end")
    return claimed.token


@task
def waits(ctx: SyncContext, seconds: float) -> str:
    """The same in a thread, which nothing can stop before it looks."""
    claimed = Claimed(ctx._context)
    claimed.note("start")
    for _ in range(max(1, int(seconds / BEAT))):
        time.sleep(BEAT)
        if ctx.cancelled:
            raise asyncio.CancelledError
        claimed.note("beat")
    claimed.note("end")
    return claimed.token


@task
async def failing(ctx: Context) -> None:
    """Fails for good."""
    Claimed(ctx).note("start")
    raise Fail("it always does")


@task(retry=Retry(attempts=4, base=0.2))
async def retrying(ctx: Context, times: int) -> str:
    """Fails so many times first."""
    claimed = Claimed(ctx)
    claimed.note("start")
    if ctx.attempt <= times:
        raise RuntimeError(f"attempt {ctx.attempt}")
    claimed.note("end")
    return claimed.token


@task
async def poison(ctx: Context) -> None:
    """Kills its worker."""
    Claimed(ctx).note("start")
    os.kill(os.getpid(), signal.SIGKILL)


@task
async def asking(ctx: Context) -> str:
    """Asks a person."""
    claimed = Claimed(ctx)
    claimed.note("start")
    await ctx.ask("Which?", ["this", "that"], id="which")
    claimed.note("end")
    return claimed.token


@task
async def command(ctx: Context, seconds: float) -> str:
    """Has a command with a grandchild that flees and is deaf to TERM."""
    claimed = Claimed(ctx)
    claimed.note("start")
    script = "(trap '' TERM; exec setsid sleep 600) & exec sleep " + f"{seconds:g}"
    await ctx.run(["sh", "-c", script], env={"LIVENESS_MARK": os.environ[MARK]})
    claimed.note("end")
    return claimed.token
