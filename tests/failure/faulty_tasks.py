"""Tasks that kill their worker, ask, or that an older worker does not have."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.failure.worker_under_fire import counts, first_time_slow, note, once, sleeps
from worker import Context, Retry, task

__all__ = ["counts", "first_time_slow", "once", "sleeps"]


@task
async def deadly(ctx: Context, path: str) -> None:
    """Kills the worker that runs it, every time."""
    note(path, "deadly")
    os.kill(os.getpid(), signal.SIGKILL)


@task
async def asks(ctx: Context, path: str) -> str:
    """Asks a person and returns the answer."""
    note(path, "asks")
    answer: str = await ctx.ask("Which?", id="which")
    return answer


@task(retry=Retry(attempts=3, base=0.1, jitter=False))
async def second_try(ctx: Context, path: str) -> int:
    """Fails the first time."""
    note(path, "try")
    if ctx.attempt == 1:
        raise RuntimeError("not yet")
    return ctx.attempt


@task
async def typed(ctx: Context, path: str, number: int) -> int:
    """Wants a number."""
    note(path, "typed")
    return number


#: Where `fragile` may kill its worker, in the order in which it comes there.
POINTS = ("first", "in the step", "after the step", "before the end")


@task
async def fragile(ctx: Context, path: str, point: str) -> list[str]:
    """Does a step and asks; the first run kills its worker at `point`."""
    first = not Path(f"{path}.{point}").exists()

    def reach(here: str) -> None:
        note(path, here.replace(" ", "-"))
        if first and here == point:
            Path(f"{path}.{point}").touch()
            os.kill(os.getpid(), signal.SIGKILL)

    def act() -> str:
        reach("in the step")
        return "done"

    reach("first")
    step: str = await ctx.step("only", act)
    reach("after the step")
    answer: str = await ctx.ask("Go on?", ["yes", "no"], id="go")
    reach("before the end")
    return [step, answer]
