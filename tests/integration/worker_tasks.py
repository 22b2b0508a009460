"""Tasks that the worker's tests run, also in processes of their own."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from worker import ChildFailed, CommandFailed, Context, Fail, Retry, SyncContext, task

runs: dict[str, list[str]] = {}
#: What a test calls to end a job's patience.
bells: dict[str, Callable[[], None]] = {}
#: Set by tests to let a task that waits go on.
gates: dict[str, threading.Event] = {}


class Sum(msgspec.Struct):
    total: int


@task
async def add(a: int, b: int = 1) -> Sum:
    return Sum(a + b)


@task
async def talk(ctx: Context, lines: int = 3) -> None:
    await ctx.progress(message="Starting")
    for n in range(lines):
        await ctx.progress(n, lines)
        await ctx.log(f"line {n}")
    await ctx.log("one\ntwo\n", "stderr")
    await ctx.progress(100)


@task
async def hurry(ctx: Context, times: int) -> None:
    for n in range(1, times + 1):
        await ctx.progress(n, times)
        await asyncio.sleep(0)


@task
async def flood(ctx: Context, lines: int, width: int = 20) -> None:
    for n in range(lines):
        await ctx.log(f"{n} {'x' * width}")


@task
async def command(ctx: Context, script: str, check: bool = True) -> dict[str, Any]:
    run = ctx.run(["sh", "-c", script], check=check, env={"EXTRA": "more"})
    lines = [list(line) async for line in run]
    return {"lines": lines, "returncode": run.returncode}


@task
async def caught(ctx: Context) -> str:
    try:
        await ctx.run(["sh", "-c", "echo out; echo why >&2; exit 3"])
    except CommandFailed as error:
        return f"{error.returncode} {error.last_line}"
    return "not raised"


@task
async def question(ctx: Context) -> str:
    runs.setdefault(ctx.job_id, []).append("asked")
    answer: str = await ctx.ask("Deploy?", ["yes", "no"])
    return answer


@task
async def questions(ctx: Context) -> list[Any]:
    first = await ctx.ask("Which?", id="which")
    second = await ctx.ask("Which?")
    return [first, second]


@task(timeout=1)
async def slow_question(ctx: Context) -> str:
    answer: str = await ctx.ask("Deploy?", ["yes", "no"])
    return answer


@task
async def impatient(ctx: Context) -> str:
    try:
        async with asyncio.timeout(None) as patience:
            bells[ctx.job_id] = lambda: patience.reschedule(0)
            await ctx.ask("Anybody?")
    except TimeoutError:
        return "nobody"
    return "somebody"


@task(retry=Retry(attempts=3, base=0.01))
async def stepped(ctx: Context) -> list[int]:
    done = runs.setdefault(ctx.job_id, [])

    async def charge(amount: int) -> tuple[int, int]:
        done.append(f"charge {ctx.attempt}")
        return amount, amount

    charged: list[int] = await ctx.step("charge", charge, 5)
    if ctx.attempt < 3:
        raise RuntimeError("crash")
    return charged


@task(retry=Retry(attempts=2, base=0.01))
async def flaky(ctx: Context) -> int:
    if ctx.attempt == 1:
        raise ValueError("not yet")
    return ctx.attempt


@task
async def broken() -> None:
    raise ValueError("it broke")


@task
async def leaving() -> None:
    sys.exit(3)


@task
async def refused() -> None:
    raise Fail("not approved", type="NotApproved")


@task(retry=Retry(attempts=2, base=600))
async def busy(ctx: Context) -> int:
    if ctx.attempt == 1:
        raise Retry("busy", after=0.01)
    return ctx.attempt


@task(timeout=0.6, retry=Retry(attempts=2, base=0.01))
async def late(ctx: Context) -> None:
    await asyncio.Event().wait()


@task
async def forever(ctx: Context, cleaned: str = "") -> None:
    try:
        await asyncio.Event().wait()
    finally:
        if cleaned:
            Path(cleaned).write_text("cleaned")


@task
async def stubborn(ctx: Context) -> str:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        return "finished all the same"
    return "never"


@task
async def tree(ctx: Context, mark: str) -> None:
    env = {"LIVENESS_MARK": mark}
    await ctx.run(["sh", "-c", "trap '' TERM; (trap '' TERM; exec sleep 600) & wait"], env=env)


@task
async def leaves(ctx: Context, mark: str) -> str:
    await ctx.run(["sh", "-c", "setsid sleep 600 > /dev/null 2>&1 &"], env={"LIVENESS_MARK": mark})
    return "left"


@task
async def big(size: int) -> str:
    return "x" * size


@task
async def not_json() -> Any:
    return {object(): 1}


@task
def sync(ctx: SyncContext, fail: bool = False) -> dict[str, Any]:
    ctx.progress(1, 2, message="half")
    ctx.log("from a thread")
    lines = [line.text for line in ctx.run(["echo", "hi"])]
    answer = ctx.ask("Sure?", ["yes", "no"])
    kept = ctx.step("once", lambda: [1])
    if fail:
        raise ValueError("in a thread")
    return {
        "lines": lines,
        "answer": answer,
        "kept": kept,
        "main": threading.current_thread() is threading.main_thread(),
        "pid": os.getpid(),
    }


@task
def sync_forever(ctx: SyncContext) -> None:
    while True:
        time.sleep(0.01)


@task
def sync_polite(ctx: SyncContext) -> None:
    while not ctx.cancelled:
        time.sleep(0.01)


@task
def sync_waiting(ctx: SyncContext) -> None:
    ctx.ask("Waiting for you?")


@task(isolate="process")
def isolated(ctx: SyncContext, n: int) -> dict[str, Any]:
    """Everything that a context does, from another process."""
    ctx.progress(50, message="half")
    ctx.log("logged")
    print("printed")
    lines = [line.text for line in ctx.run(["echo", "hi"])]
    answer = ctx.ask("Sure?", ["yes", "no"])
    kept = ctx.step("once", lambda: n * 2)
    return {
        "pid": os.getpid(),
        "lines": lines,
        "answer": answer,
        "kept": kept,
        "secret": any(name.startswith("JOBCAST_") for name in os.environ),
        "main": threading.current_thread() is threading.main_thread(),
    }


@task(isolate="process")
async def isolated_coroutine(ctx: Context, fail: str = "") -> int:
    await ctx.log("async")
    if fail == "exit":
        os._exit(7)
    if fail == "raise":
        raise ValueError("in a process")
    if fail == "fail":
        raise Fail("no")
    return os.getpid()


@task(isolate="process")
def isolated_busy(ctx: SyncContext, cleaned: str) -> None:
    ctx.log(f"pid {os.getpid()}")
    try:
        while True:
            time.sleep(600)
    finally:
        Path(cleaned).write_text("cleaned")


@task
async def idempotent(ctx: Context) -> str:
    return ctx.idempotency_key


@task
async def both(ctx: Context) -> list[Any]:
    return await ctx.gather((add, {"a": 1}), ("add", {"a": 2, "b": 2}))


@task(isolate="process")
def both_isolated(ctx: SyncContext) -> list[Any]:
    return ctx.gather(("add", {"a": 1}), name="sums")


@task
async def one_fails(ctx: Context) -> str:
    try:
        await ctx.gather((add, {"a": 1}), ("refused", {}))
    except ChildFailed as error:
        return f"{error.task} {error.status} {error.code} {error.error}"
    return "not raised"


@task(retry=Retry(attempts=2, base=0.01))
async def gathers_again(ctx: Context) -> list[Any]:
    """The first time, one child fails."""
    return await ctx.gather(("counted", {}), ("lucky", {"attempt": ctx.attempt}))


@task
async def counted(ctx: Context) -> str:
    return ctx.job_id


@task
async def lucky(ctx: Context, attempt: int) -> int:
    if attempt == 1:
        raise Fail("not this time")
    return attempt


@task
async def waits_for_forever(ctx: Context) -> None:
    await ctx.gather(("forever", {}))
