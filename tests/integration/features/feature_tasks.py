"""Tasks that the tests of features run."""

from __future__ import annotations

import asyncio
from typing import Any

from worker import ChildFailed, Context, Fail, Retry, SyncContext, task

#: What ran, by job id.
runs: dict[str, list[Any]] = {}

#: How many of `lone` ran together, each time that one ran.
crowd: list[int] = []
_lone: set[str] = set()


@task(concurrency=1)
async def lone(ctx: Context) -> None:
    _lone.add(ctx.job_id)
    crowd.append(len(_lone))
    await ctx.log("here")
    await asyncio.sleep(0.01)
    crowd[-1] = max(crowd[-1], len(_lone))
    _lone.discard(ctx.job_id)


@task
async def double(n: int) -> int:
    return 2 * n


@task
async def forever() -> None:
    await asyncio.Event().wait()


@task
async def family(ctx: Context) -> dict[str, Any]:
    """Queues two, waits for one of them and for a third."""
    first = await ctx.enqueue(double, {"n": 1}, title="First", priority=2)
    other = await ctx.enqueue("double", {"n": 5}, name="other")
    results = await ctx.gather(first, (double, {"n": 10}))
    return {"first": first, "other": other, "results": results}


@task(isolate="process")
def isolated_family(ctx: SyncContext) -> list[Any]:
    return ctx.gather(ctx.enqueue("double", {"n": 2}))


@task(retry=Retry(attempts=3, base=0.0))
async def queues_again(ctx: Context) -> str:
    """Crashes after it has queued a child, and then finds it again."""
    child = await ctx.enqueue("double", {"n": 1})
    runs.setdefault(ctx.job_id, []).append(child)
    if len(runs[ctx.job_id]) < 3:
        raise RuntimeError("crash")
    return child


@task
async def wants_what_cannot_be(ctx: Context) -> None:
    await ctx.enqueue("double", {"n": "two"})


@task
async def grandparent(ctx: Context) -> None:
    await ctx.gather(("parent", {}))


@task
async def parent(ctx: Context) -> None:
    await ctx.enqueue("forever")
    await ctx.enqueue("forever", {}, delay=600)
    await ctx.gather(("forever", {}))


@task
async def peeks(ctx: Context, job_id: str) -> str:
    try:
        await ctx.gather(job_id)
    except ChildFailed as error:
        return str(error)
    raise Fail("it could look")
