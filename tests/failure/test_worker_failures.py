"""Workers that are killed, frozen, blocked, cut off or told to stop; and a Redis that goes away."""

from __future__ import annotations

import asyncio
import os
import signal

import msgspec
import pytest

from hub import keys
from hub.errors import StaleToken
from hub.states import TERMINAL
from tests.conftest import wait_until
from tests.failure.field import LEASE, Field
from tests.liveness import Mark
from tests.proxy import Proxy
from worker.proctree import read_proc


@pytest.mark.slow
async def test_a_killed_worker_loses_its_job_to_another(field: Field) -> None:
    first = await field.worker("-c", "1")
    mark = Mark()
    job_id = await field.queue("first_time_slow", mark=mark.text)
    await wait_until(lambda: _alive(mark), "the command runs")

    os.kill(first.pid, signal.SIGKILL)
    second = await field.worker("-c", "1")

    job = await field.until(job_id, *TERMINAL)
    assert (job.status, job.lost, job.attempt, job.released) == ("completed", 1, 1, 0)
    assert mark.alive() == []
    assert second.warden.returncode is None
    await first.until_serving(2)


async def test_a_killed_warden_takes_its_worker_along(field: Field) -> None:
    mark = Mark()
    worker = await field.worker()
    await field.queue("once", seconds=600, mark=mark.text)
    await wait_until(lambda: _alive(mark), "the command runs")

    worker.warden.kill()
    await worker.warden.wait()

    await mark.until_gone()

    async def dead() -> bool:
        return read_proc(worker.pid) is None

    await wait_until(dead, "the worker is dead")


async def _alive(mark: Mark) -> bool:
    return len(mark.alive()) >= 2


@pytest.mark.slow
async def test_a_frozen_worker_writes_nothing_and_leaves_nothing(field: Field) -> None:
    mark = Mark()
    first = await field.worker("-c", "1")
    job_id = await field.queue("first_time_slow", mark=mark.text)
    await wait_until(lambda: _alive(mark), "the command runs")
    token = (await field.redis.hget(keys.job(job_id), "token")).decode()
    await field.worker("-c", "1")

    os.kill(first.pid, signal.SIGSTOP)
    # Whatever the frozen worker started is dead before anybody else may have the job.
    await wait_until(lambda: _lost(field, job_id), "the job is lost")
    assert mark.alive() == []
    job = await field.until(job_id, *TERMINAL)
    assert (job.status, job.lost) == ("completed", 1)
    before = await field.redis.hgetall(keys.job(job_id))

    os.kill(first.pid, signal.SIGCONT)

    async def thawed() -> bool:
        # Whichever of its threads comes first: it lets go of the job, or it ends.
        said = first.log.read_text()
        return "its claim is over" in said or said.count(" serves ") == 2

    await wait_until(thawed, "the frozen worker found out")
    assert await field.redis.hgetall(keys.job(job_id)) == before
    with pytest.raises(StaleToken):
        await field.transitions.finish(job_id, token, "completed", b"1")


async def _lost(field: Field, job_id: str) -> bool:
    return (await field.job(job_id)).lost == 1


async def test_sigterm_gives_back_what_does_not_finish(field: Field) -> None:
    mark = Mark()
    worker = await field.worker("--grace", "0.5")
    short = await field.queue("once", seconds=0.1)
    long = await field.queue("once", seconds=600, mark=mark.text)
    await wait_until(lambda: _alive(mark), "the command runs")

    worker.warden.send_signal(signal.SIGTERM)

    assert await worker.end() == 0
    assert (await field.job(short)).status == "completed"
    job = await field.job(long)
    assert (job.status, job.released, job.lost) == ("pending", 1, 0)
    assert mark.alive() == []
    assert await field.redis.zcard(keys.WORKERS) == 0


async def test_a_second_sigterm_gives_everything_back_now(field: Field) -> None:
    mark = Mark()
    worker = await field.worker("--grace", "600")
    job_id = await field.queue("once", seconds=600, mark=mark.text)
    await wait_until(lambda: _alive(mark), "the command runs")

    worker.warden.send_signal(signal.SIGTERM)

    async def finishing() -> bool:
        return "finishing 1 jobs" in worker.log.read_text()

    await wait_until(finishing, "the worker drains")
    worker.warden.send_signal(signal.SIGTERM)

    assert await worker.end() == 0
    job = await field.job(job_id)
    assert (job.status, job.released, job.lost) == ("pending", 1, 0)
    assert mark.alive() == []


async def test_a_restart_of_valkey_stops_nothing(field: Field) -> None:
    worker = await field.worker()
    ids = [await field.queue("counts", seconds=2.5) for _ in range(3)]
    await field.until_noted("start", 3)

    field.server.kill()
    field.server.start()

    for job_id in ids:
        job = await field.until(job_id, *TERMINAL)
        assert (job.status, job.lost, job.released, job.attempt) == ("completed", 0, 0, 1)
        assert msgspec.json.decode(job.result) == job.log_lines
    last = await field.until(await field.queue("once", seconds=0), *TERMINAL)
    assert last.status == "completed"
    assert field.words().count("start") == 4
    assert worker.warden.returncode is None


@pytest.mark.slow
async def test_an_outage_longer_than_a_lease_releases(field: Field) -> None:
    mark = Mark()
    await field.worker()
    job_id = await field.queue("first_time_slow", mark=mark.text)
    await wait_until(lambda: _alive(mark), "the command runs")

    field.server.kill()
    await field.until_noted("end")
    await mark.until_gone()
    field.server.start()

    job = await field.until(job_id, *TERMINAL)
    assert (job.status, job.lost, job.released, job.attempt) == ("completed", 0, 1, 1)


@pytest.mark.slow
async def test_a_worker_that_is_cut_off_stops_before_the_job_runs_again(field: Field) -> None:
    async with Proxy("127.0.0.1", field.server.port) as proxy:
        first = await field.worker("-c", "1", url=f"redis://127.0.0.1:{proxy.port}/0")
        job_id = await field.queue("first_time_slow")
        await field.until_noted("start")
        await field.worker("-c", "1")
    # From here the first worker reaches nothing, while Redis and the second one go on.

    job = await field.until(job_id, *TERMINAL)

    assert (job.status, job.lost) == ("completed", 1)
    assert field.words() == ["start", "end", "start", "end"]
    assert first.warden.returncode is None


@pytest.mark.slow
async def test_connections_that_are_cut_again_and_again(field: Field) -> None:
    async with Proxy("127.0.0.1", field.server.port) as proxy:
        worker = await field.worker(url=f"redis://127.0.0.1:{proxy.port}/0")
        ids = [await field.queue("talks") for _ in range(150)]
        looks = 0

        async def ended() -> bool:
            nonlocal looks
            looks += 1
            if looks % 5 == 0:
                proxy.cut()
            return all(job.terminal for job in await field.store.jobs_by_id(ids))

        await wait_until(ended, "all jobs end", timeout=60)
        for job in await field.store.jobs_by_id(ids):
            assert (job.status, job.lost, job.released, job.attempt) == ("completed", 0, 0, 1)
            lines = (await field.store.logs(job.id)).lines
            assert [line.text for line in lines] == [f"line {n}" for n in range(20)]
            assert job.progress is not None
            assert job.progress.percent == 100
        worker.warden.send_signal(signal.SIGTERM)
        assert await worker.end() == 0


@pytest.mark.slow
async def test_code_that_blocks_the_loop_keeps_its_lease(field: Field) -> None:
    await field.worker()
    await field.worker()

    job = await field.until(await field.queue("blocks", seconds=LEASE * 2), *TERMINAL)

    assert (job.status, job.lost, job.released) == ("completed", 0, 0)
    assert field.words() == ["start", "end"]


@pytest.mark.slow
async def test_code_that_blocks_the_loop_past_its_timeout_ends_the_worker(field: Field) -> None:
    mark = Mark()
    worker = await field.worker()
    other = await field.queue("first_time_slow", mark=mark.text)
    await wait_until(lambda: _alive(mark), "the command runs")
    job_id = await field.queue("blocks", seconds=600, timeout=1.0)
    await field.until_noted("start", 2)

    job = await field.until(job_id, *TERMINAL)

    assert job.error is not None
    assert (job.error.code, job.lost) == ("timeout", 0)
    assert "blocks the worker" in worker.log.read_text()
    # What else it did is given back and done by its successor.
    job = await field.until(other, *TERMINAL)
    assert (job.status, job.lost, job.released) == ("completed", 0, 1)
    assert mark.alive() == []


@pytest.mark.slow
async def test_a_coroutine_that_swallows_its_end_ends_the_worker(field: Field) -> None:
    worker = await field.worker("--grace", "0.5")
    job_id = await field.queue("swallows")
    await field.until_noted("start")

    await field.transitions.cancel(job_id)

    job = await field.until(job_id, *TERMINAL)
    assert (job.status, job.lost) == ("cancelled", 0)
    await worker.until_serving(2)
    assert "does not stop" in worker.log.read_text()


@pytest.mark.slow
async def test_a_thread_that_waits_is_given_back_on_sigterm(field: Field) -> None:
    worker = await field.worker("--grace", "0.5")
    job_id = await field.queue("sleeps", seconds=600)
    await field.until_noted("start")

    worker.warden.send_signal(signal.SIGTERM)

    assert await worker.end() == 0
    job = await field.job(job_id)
    assert (job.status, job.released, job.lost) == ("pending", 1, 0)
    assert read_proc(worker.pid) is None


async def test_cancel_kills_the_whole_tree(field: Field) -> None:
    mark = Mark()
    await field.worker()
    job_id = await field.queue("once", seconds=600, mark=mark.text)
    await wait_until(lambda: _alive(mark), "the command runs")

    await field.transitions.cancel(job_id)

    assert (await field.until(job_id, *TERMINAL)).status == "cancelled"
    assert mark.alive() == []


async def test_a_worker_waits_for_redis_at_its_start(field: Field) -> None:
    field.server.kill()
    starting = asyncio.create_task(field.worker())
    log = field.notes.with_name("worker-0.log")

    async def waiting() -> bool:
        return log.exists() and "waiting for Redis" in log.read_text()

    await wait_until(waiting, "the worker says that it waits")
    field.server.start()
    await starting
    job = await field.until(await field.queue("once", seconds=0), *TERMINAL)
    assert job.status == "completed"
