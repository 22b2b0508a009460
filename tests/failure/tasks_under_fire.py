"""Tasks that the failure tests run in real workers."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from worker import Context, Retry, task


@task
async def quick(ctx: Context, n: int = 0) -> int:
    """Ends at once."""
    await ctx.log(f"quick {n}")
    return n


@task(timeout=60)
async def steps(ctx: Context, steps: int = 10, pause: float = 0.1) -> int:
    """Goes on for a while, telling how far it is."""
    for step in range(steps):
        await ctx.progress(current=step, total=steps, message="stepping")
        await ctx.log(f"step {step}")
        await asyncio.sleep(pause)
    return steps


@task(retry=Retry(attempts=3, base=0.1))
async def second_time_lucky(ctx: Context) -> int:
    """Fails the first time."""
    if ctx.attempt == 1:
        raise RuntimeError("not yet")
    return ctx.attempt


@task(timeout=120)
async def tree(ctx: Context, pids: str) -> None:
    """Starts a shell with a grandchild that ignores TERM, and waits for them."""
    command = (
        f"trap '' TERM; echo $$ > {pids}; (trap '' TERM; exec sleep 100) & echo $! >> {pids}; wait"
    )
    async for _ in ctx.run(["sh", "-c", command]):
        pass


@task(timeout=60)
async def effect(ctx: Context, path: str, seconds: float = 1.0) -> None:
    """Writes when it starts and ends, so that a test can see whether two runs overlapped."""
    file = Path(path)
    with file.open("a") as out:
        out.write(f"start {os.getpid()}\n")
    await asyncio.sleep(seconds)
    with file.open("a") as out:
        out.write(f"end {os.getpid()}\n")
