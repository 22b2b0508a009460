"""A server whose clock is set forward or back while jobs run."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from hub.jobs import NewJob
from hub.states import TERMINAL
from tests.conftest import Server, new_server
from tests.failure.field import a_field, events

pytestmark = pytest.mark.slow


class Clock:
    """The wall clock of one process, by libfaketime; its monotonic clock stays true, as it does
    where an administrator sets the time."""

    def __init__(self, library: Path, offset: Path) -> None:
        self._offset = offset
        self.step(0)
        self.environment = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(offset),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def step(self, seconds: int) -> None:
        """Sets it to so many seconds from the true time."""
        new = self._offset.with_suffix(".new")
        new.write_text(f"{seconds:+d}\n")
        new.replace(self._offset)


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not found:
        if os.environ.get("CI"):
            pytest.fail("CI has no libfaketime: apt-get install libfaketime")
        pytest.skip("there is no libfaketime: apt-get install libfaketime")
    return Clock(found[0], tmp_path / "clock")


@pytest.fixture
def stepped(clock: Clock) -> Iterator[Server]:
    """A Valkey on that clock."""
    server = new_server()
    server.environment = clock.environment
    server.start()
    yield server
    server.stop()
    shutil.rmtree(server.folder)


@pytest.mark.parametrize("step", [60, -60])
async def test_who_waits_for_work_while_the_clock_is_stepped_begins_it_in_time(
    stepped: Server, clock: Clock, tmp_path: Path, step: int
) -> None:
    async with a_field(stepped, tmp_path, lease=3.0) as field:
        worker = await field.worker()
        clock.step(step)
        # Work that comes later than a lease after that: the server would go on waiting.
        params = msgspec.json.encode({"path": str(field.notes), "seconds": 0.1})
        new = NewJob(session_id="s1", task="once", params=params, delay=5.0)
        job_id = (await field.store.enqueue(new)).job.id
        job = await field.until(job_id, *TERMINAL)
        assert (job.status, job.lost, job.released) == ("completed", 0, 0)
        assert " lease is over" not in worker.log.read_text()


@pytest.mark.parametrize("step", [60, -60, 3_600, -3_600])
async def test_a_clock_that_is_stepped_loses_nothing(
    stepped: Server, clock: Clock, tmp_path: Path, step: int
) -> None:
    async with a_field(stepped, tmp_path, lease=3.0) as field:
        worker = await field.worker("-c", "2")
        long = await field.queue("once", seconds=7)
        await field.until_noted("start")
        before = (await events(field, long))[-1][1]

        clock.step(step)

        job = await field.until(long, *TERMINAL)
        assert (job.status, job.lost, job.released, job.attempt) == ("completed", 0, 0, 1)
        moved = (await events(field, long))[-1][1] - before
        assert (moved > step - 10) if step > 0 else (moved < step + 10 + 20)
        # Who waited for work goes on to get it, and whoever dies after the step is found to have.
        field.notes = tmp_path / "other"
        killed = await field.queue("first_time_slow")
        await field.until_noted("start")
        os.kill(worker.pid, signal.SIGKILL)
        job = await field.until(killed, *TERMINAL)
        assert (job.status, job.lost) == ("completed", 1)
