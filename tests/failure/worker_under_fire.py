"""Tasks of the workers that are killed, frozen and cut off. What they do can be read in a file."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from worker import Context, Retry, SyncContext, task


def note(path: str, word: str) -> None:
    with Path(path).open("a") as file:
        file.write(f"{word} {os.getpid()} {time.monotonic():.3f}\n")


@task
async def once(ctx: Context, path: str, seconds: float, mark: str = "") -> int:
    """Notes its start and its end; in between a command with a grandchild may run."""
    note(path, "start")
    try:
        if mark:
            script = "trap '' TERM; (trap '' TERM; setsid sleep 600) & wait"
            await ctx.run(["sh", "-c", script], env={"LIVENESS_MARK": mark})
        await asyncio.sleep(seconds)
    finally:
        note(path, "end")
    return ctx.attempt


@task
async def first_time_slow(ctx: Context, path: str, mark: str = "") -> None:
    """The first run goes on for ever; any other ends at once."""
    first = not Path(path).exists()
    note(path, "start")
    try:
        if first and mark:
            script = "trap '' TERM; (trap '' TERM; setsid sleep 600) & wait"
            await ctx.run(["sh", "-c", script], env={"LIVENESS_MARK": mark})
        if first:
            await asyncio.Event().wait()
    finally:
        note(path, "end")


@task(timeout=60)
async def blocks(ctx: Context, path: str, seconds: float) -> None:
    """Never gives way to the event loop."""
    note(path, "start")
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass
    note(path, "end")


@task
async def counts(ctx: Context, path: str, seconds: float) -> int:
    """Logs and tells progress all the time."""
    note(path, "start")
    lines = 0
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        lines += 1
        await ctx.log(f"line {lines}")
        await ctx.progress(message=f"line {lines}")
        await asyncio.sleep(0.01)
    note(path, "end")
    return lines


@task
async def talks(ctx: Context, path: str) -> int:
    """Writes to Redis in every way that there is."""
    for n in range(20):
        await ctx.log(f"line {n}")
        await ctx.progress(n, 20)
        await asyncio.sleep(0.005)
    await ctx.step("one", lambda: 1)
    await ctx.progress(100)
    return 20


@task(retry=Retry(attempts=2, base=0.1))
async def swallows(ctx: Context, path: str) -> str:
    """The first run does not let its cancellation through."""
    first = not Path(path).exists()
    note(path, "start")
    while first:
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            note(path, "swallowed")
    return "second"


@task
def sleeps(ctx: SyncContext, path: str, seconds: float) -> None:
    """A function in a thread that waits in C."""
    note(path, "start")
    time.sleep(seconds)
    note(path, "end")
