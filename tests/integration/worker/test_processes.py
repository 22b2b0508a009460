"""Commands, threads and processes of jobs, and that nothing of them stays."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hub.states import TERMINAL
from tests.conftest import wait_until
from tests.integration.worker.shop import Shop, result
from tests.liveness import Mark
from worker.execution import STOP_GRACE


async def test_a_command_and_its_lines(shop: Shop) -> None:
    job = await shop.run(
        "command",
        {"script": 'echo "$EXTRA"; env | grep -c ^JOBCAST_'},
    )

    assert job.status == "failed"
    assert job.error is not None
    assert job.error.type == "CommandFailed"
    assert "exit code 1" in job.error.message
    assert await shop.log(job.id) == [("stdout", "more"), ("stdout", "0")]
    unchecked = await shop.run("command", {"script": "exit 3", "check": False})
    assert result(unchecked) == {"lines": [], "returncode": 3}


async def test_a_command_that_fails_says_how(shop: Shop) -> None:
    assert result(await shop.run("caught")) == "3 why"


@pytest.mark.parametrize("stop_grace", [STOP_GRACE])
async def test_cancel(shop: Shop, tmp_path: Path) -> None:
    cleaned = tmp_path / "cleaned"
    job_id = await shop.queue("forever", {"cleaned": str(cleaned)})
    await shop.until(job_id, "running")

    await shop.transitions.cancel(job_id)

    assert (await shop.until(job_id, *TERMINAL)).status == "cancelled"
    assert cleaned.read_text() == "cleaned"


async def test_what_swallows_its_cancellation_is_cancelled(shop: Shop) -> None:
    job_id = await shop.queue("stubborn")
    await shop.until(job_id, "running")

    await shop.transitions.cancel(job_id)

    assert (await shop.until(job_id, *TERMINAL)).status == "cancelled"


async def test_cancelled_means_that_nothing_is_alive(shop: Shop) -> None:
    mark = Mark()
    job_id = await shop.queue("tree", {"mark": mark.text})
    await wait_until(lambda: _count(mark, 2), "the tree")

    await shop.transitions.cancel(job_id)

    assert (await shop.until(job_id, *TERMINAL)).status == "cancelled"
    assert mark.alive() == []


async def test_completed_means_that_nothing_is_alive(shop: Shop) -> None:
    mark = Mark()
    job = await shop.run("leaves", {"mark": mark.text})

    assert result(job) == "left"
    assert mark.alive() == []


async def _count(mark: Mark, count: int) -> bool:
    return len(mark.alive()) >= count


async def test_a_function_in_a_thread(shop: Shop) -> None:
    job_id = await shop.queue("sync")
    await shop.answer(job_id, "yes")

    job = await shop.until(job_id, *TERMINAL)
    assert result(job) == {
        "lines": ["hi"],
        "answer": "yes",
        "kept": [1],
        "main": False,
        "pid": os.getpid(),
    }
    assert await shop.log(job_id) == [("stdout", "from a thread"), ("stdout", "hi")]


@pytest.mark.parametrize("task", ["sync_forever", "sync_polite", "sync_waiting"])
async def test_cancel_of_a_function_in_a_thread(shop: Shop, task: str) -> None:
    job_id = await shop.queue(task)
    await shop.until(job_id, "input_required" if task == "sync_waiting" else "running")

    await shop.transitions.cancel(job_id)

    assert (await shop.until(job_id, *TERMINAL)).status == "cancelled"


async def test_a_function_in_a_process(shop: Shop) -> None:
    job_id = await shop.queue("isolated", {"n": 4})
    await shop.answer(job_id, "no")

    got = result(await shop.until(job_id, *TERMINAL))
    assert got.pop("pid") != os.getpid()
    assert got == {"lines": ["hi"], "answer": "no", "kept": 8, "secret": False, "main": True}
    assert sorted(await shop.log(job_id)) == [
        ("stdout", "hi"),
        ("stdout", "logged"),
        ("stdout", "printed"),
    ]


async def test_a_coroutine_in_a_process(shop: Shop) -> None:
    assert result(await shop.run("isolated_coroutine")) != os.getpid()
    died, raised, failed = [
        (await shop.run("isolated_coroutine", {"fail": how})).error
        for how in ("exit", "raise", "fail")
    ]
    assert died is not None
    assert raised is not None
    assert failed is not None
    assert "status 7" in died.message
    assert (raised.type, raised.message) == ("ValueError", "in a process")
    assert failed.code == "permanent"


@pytest.mark.parametrize("stop_grace", [STOP_GRACE])
async def test_cancel_of_a_process(shop: Shop, tmp_path: Path) -> None:
    cleaned = tmp_path / "cleaned"
    job_id = await shop.queue("isolated_busy", {"cleaned": str(cleaned)})

    async def started() -> bool:
        return bool(await shop.log(job_id))

    await wait_until(started, "the process runs")
    pid = int((await shop.log(job_id))[0][1].split()[1])

    await shop.transitions.cancel(job_id)

    assert (await shop.until(job_id, *TERMINAL)).status == "cancelled"
    assert cleaned.read_text() == "cleaned"
    assert not Path(f"/proc/{pid}").exists()
