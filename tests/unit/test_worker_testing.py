"""Tasks run in place: `worker.testing`."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from worker import ChildFailed, CommandFailed, Context, Fail, Retry, SyncContext, task
from worker.testing import Unscripted, run


@task(timeout=60, retry=Retry(attempts=3, base=10))
async def deploy(ctx: Context, environment: str = "staging") -> dict[str, Any]:
    await ctx.progress(0, message="Starting")
    if await ctx.ask("Deploy?", ["yes", "no"]) == "no":
        raise Fail("not approved", type="NotApproved")
    await asyncio.sleep(3_600 if environment == "far" else 30)
    async for line in ctx.run(["rsync", environment]):
        await ctx.progress(message=line.text)
    charged = await ctx.step("charge", lambda: 5)
    totals = await ctx.gather(("add", {"a": 1}), ("add", {"a": 2}))
    await ctx.log("done\nreally", "stderr")
    return {"charged": charged, "totals": totals}


SCRIPT: dict[str, Any] = {
    "answers": {"Deploy?": "yes"},
    "commands": lambda argv: (0, ["copied", "! slowly"]),
    "children": {"add": lambda params: params["a"] * 10},
}


def test_everything_is_recorded() -> None:
    ran = run(deploy, {}, **SCRIPT)

    assert ran.status == "completed"
    assert ran.result == {"charged": 5, "totals": [10, 20]}
    assert ran.elapsed == pytest.approx(30)
    messages = [each["message"] for each in ran.progress]
    assert messages == ["Starting", "copied", "slowly"]
    assert ran.log == [
        *(("stdout", "copied"), ("stderr", "slowly")),
        *(("stderr", "done"), ("stderr", "really")),
    ]
    assert ran.asked == ["Deploy?"]
    assert ran.commands == [["rsync", "staging"]]
    assert ran.children == [("add", {"a": 1}), ("add", {"a": 2})]
    assert ran.steps == {"charge": 5}


def test_a_timeout_takes_no_time() -> None:
    ran = run(deploy, {"environment": "far"}, **SCRIPT)
    assert (ran.status, ran.delay) == ("retrying", 10)
    assert ran.elapsed == pytest.approx(60)
    assert ran.error is not None
    assert ran.error.code == "timeout"


def test_the_last_try_fails() -> None:
    ran = run(deploy, {"environment": "far"}, attempt=3, **SCRIPT)
    assert (ran.status, ran.delay) == ("failed", None)


def test_cancelling() -> None:
    ran = run(deploy, {"environment": "far"}, cancel_at=20, **SCRIPT)
    assert (ran.status, ran.error) == ("cancelled", None)
    assert ran.elapsed == pytest.approx(20)


def test_what_is_refused_for_good() -> None:
    ran = run(deploy, answers=lambda prompt, options: "no")
    assert ran.error is not None
    assert (ran.status, ran.error.type) == ("failed", "NotApproved")


def test_wrong_params_and_results() -> None:
    ran = run(deploy, {"environment": 1})
    assert ran.error is not None
    assert ran.error.code == "invalid_params"

    @task
    async def lies() -> int:
        return "one"  # type: ignore[return-value]

    ran = run(lies)
    assert ran.error is not None
    assert ran.error.type == "ResultError"


def test_steps_of_an_earlier_try_are_not_done_again() -> None:
    ran = run(deploy, steps={"charge": 7}, **SCRIPT)
    assert ran.result["charged"] == 7


@pytest.mark.parametrize("missing", ["answers", "commands", "children"])
def test_what_is_not_scripted_is_said(missing: str) -> None:
    with pytest.raises(Unscripted, match=missing):
        run(deploy, **{name: value for name, value in SCRIPT.items() if name != missing})


def test_an_answer_that_is_no_option() -> None:
    with pytest.raises(Unscripted, match="maybe"):
        run(deploy, answers={"Deploy?": "maybe"})


@task
async def robust(ctx: Context) -> list[str]:
    said = []
    try:
        await ctx.gather(("add", {}))
    except ChildFailed as error:
        said.append(f"{error.code}: {error.error}")
    try:
        await ctx.run(["make"])
    except CommandFailed as error:
        said.append(f"{error.returncode}: {error.last_line}")
    child = await ctx.enqueue("add", {})
    [result] = await ctx.gather(child, return_errors=True)
    return [*said, type(result).__name__]


def test_children_and_commands_that_fail() -> None:
    def fails(params: dict[str, Any]) -> None:
        raise ValueError("no sum")

    ran = run(robust, children={"add": fails}, commands=lambda argv: (2, ["! no rule"]))
    assert ran.result == ["error: no sum", "2: no rule", "ChildFailed"]


@task(timeout=30)
def plain(ctx: SyncContext, n: int) -> int:
    ctx.progress(n, 10)
    ctx.log("here")
    time.sleep(0.01)  # the clock of its timeout stands still
    return int(ctx.step("twice", lambda: 2 * n))


async def test_a_plain_function_where_a_loop_runs() -> None:
    ran = run(plain, {"n": 4})
    assert (ran.result, ran.progress[0]["current"], ran.log) == (8, 4, [("stdout", "here")])


async def test_errors_of_the_script_come_through_a_thread() -> None:
    with pytest.raises(Unscripted):
        run(deploy)
