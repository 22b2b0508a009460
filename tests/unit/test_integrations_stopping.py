"""Stopping the code of a run, and nothing but that code."""

from __future__ import annotations

import asyncio
import threading

import pytest

from hub.foreign import ForeignJob
from hub.settings import Settings
from worker.integrations.run import Run
from worker.integrations.sessions import asked
from worker.integrations.stopping import CancelledInJobcast, Stoppable
from worker.integrations.teller import Teller


@pytest.fixture
def run() -> Run:
    """A run that nobody is told of."""
    teller = Teller(Settings(), 30, None)
    return Run(teller, "test:1", ForeignJob("s1", "t"), attempt=None, worker=None, line_bytes=1_000)


async def test_a_cancel_from_another_thread_stops_the_code_only(run: Run) -> None:
    stoppable, running = Stoppable(), asyncio.Event()

    def stop() -> None:
        run.cancel_requested = True
        stoppable.stop(run)

    async def job() -> str:
        try:
            with stoppable.running(run):
                running.set()
                await asyncio.Event().wait()
        except CancelledInJobcast:
            # What the library does afterwards, in the same task.
            await asyncio.sleep(0)
            stoppable.stop(run)
            await asyncio.sleep(0)
            return "noted"
        return "went on"

    async with asyncio.TaskGroup() as group:
        task = group.create_task(job())
        await running.wait()
        thread = threading.Thread(target=stop)
        thread.start()
        assert await task == "noted"
        thread.join()
    assert task.cancelling() == 0


async def test_a_stop_that_comes_too_late_stops_nothing(run: Run) -> None:
    stoppable = Stoppable()
    with stoppable.running(run):
        # On its way to the loop when the code ends.
        stoppable.stop(run)
    for _ in range(3):
        await asyncio.sleep(0)


async def test_a_cancel_by_anybody_else_stays_theirs(run: Run) -> None:
    stoppable, running = Stoppable(), asyncio.Event()

    async def job() -> None:
        with stoppable.running(run):
            running.set()
            await asyncio.Event().wait()

    task = asyncio.ensure_future(job())
    await running.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("how", ["cancelled_before", "cancel_requested"])
async def test_what_was_cancelled_before_does_not_begin(run: Run, how: str) -> None:
    setattr(run, how, True)
    begun = False
    with pytest.raises(CancelledInJobcast, match="cancelled in Jobcast"), Stoppable().running(run):
        begun = True
    assert not begun


def test_a_function_that_does_not_know_whose_a_job_is(caplog: pytest.LogCaptureFixture) -> None:
    def session_of(name: str) -> str | None:
        return {"known": "s1"}[name]

    assert asked(session_of)("known") == "s1"
    assert asked(session_of)("other") is None
    assert "whose it is" in caplog.text
    assert asked(None)() is None
