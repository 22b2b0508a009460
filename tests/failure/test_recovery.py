"""What is promised of recovery: after kill -9, after an outage, after a step of the clock, and when
very much falls due at once."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from hub import keys
from hub.errors import StaleToken
from hub.jobs import NewJob
from hub.scripts import Scripts
from hub.settings import Settings
from hub.states import TERMINAL
from hub.store import Store
from hub.tick import BATCH, Tick, Ticker
from hub.transitions import Transitions
from tests.conftest import Server, wait_until
from tests.failure.faulty_tasks import POINTS
from tests.failure.field import Field, a_field, events, has_two, redis_time, statuses
from tests.liveness import Mark
from tests.proxy import Proxy

FAULTY = "tests.failure.faulty_tasks"


@pytest.mark.slow
async def test_an_outage_of_three_leases_costs_no_job_anything(
    own_valkey: Server, tmp_path: Path
) -> None:
    async with a_field(own_valkey, tmp_path, lease=2.0) as field:
        mark = Mark()
        await field.worker(tasks=FAULTY)
        asking = await field.queue("asks")
        await field.until(asking, "input_required")
        running = await field.queue("first_time_slow", mark=mark.text, path=str(tmp_path / "other"))
        await wait_until(lambda: has_two(mark), "the command runs")
        coroutine = await field.queue("once", seconds=600)
        thread = await field.queue("sleeps", seconds=600)
        await field.until_noted("start", 2)
        delayed = await field.store.enqueue(
            NewJob(
                session_id="s1",
                task="once",
                params=msgspec.json.encode({"path": str(field.notes), "seconds": 0}),
                delay=1,
            )
        )
        field.server.kill()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(3 * field.lease):
                await asyncio.Event().wait()
        assert mark.alive() == []
        field.server.start()

        assert (await field.until(running, *TERMINAL)).status == "completed"
        await field.until(delayed.job.id, "completed")
        await field.until(coroutine, "running")
        await field.until(thread, "running")
        await field.transitions.answer(asking, "which", b'"blue"')
        await field.until(asking, "completed")
        for job_id in (asking, running, coroutine, thread, delayed.job.id):
            job = await field.job(job_id)
            assert (job.lost, job.attempt) == (0, 1), job
            assert "failed" not in await statuses(field, job_id)
        # The same worker or a fresh one has each of them again.
        await field.until_noted("start", 5)


@pytest.mark.slow
@pytest.mark.parametrize("leads", [True, False])
async def test_what_a_killed_worker_ran_runs_again_within_a_lease_and_two_seconds(
    own_valkey: Server, tmp_path: Path, leads: bool
) -> None:
    """By Redis's own clock. A lease of 9 s keeps a pause of a busy machine from being taken for an
    outage, which would rightly make it longer."""
    async with a_field(own_valkey, tmp_path, lease=9.0) as field:
        # The first to come leads the tick, for as long as it lives.
        leader = await field.worker("-c", "1")
        if not leads:
            await field.queue("once", seconds=600, path=str(tmp_path / "other"))
            await field.worker("-c", "1")
        job_id = await field.queue("first_time_slow")
        await field.until_noted("start")
        victim = leader if leads else field.workers[1]
        if leads:
            await field.worker("-c", "1")
        at = await redis_time(field)
        os.kill(victim.pid, signal.SIGKILL)

        job = await field.until(job_id, *TERMINAL)

        assert (job.status, job.lost, job.attempt) == ("completed", 1, 1)
        told = await events(field, job_id)
        names = ["pending", "running", "pending", "running", "completed"]
        assert [status for status, _ in told] == names
        assert told[3][1] - at <= field.lease + 2


@pytest.mark.slow
async def test_steps_and_answers_outlive_a_crash_at_any_point(
    own_valkey: Server, tmp_path: Path
) -> None:
    async with a_field(own_valkey, tmp_path, lease=1.0) as field:
        await field.worker(tasks=FAULTY)
        for point in POINTS:
            field.notes = tmp_path / f"notes {POINTS.index(point)}"
            job_id = await field.queue("fragile", point=point)
            await field.until(job_id, "input_required")
            await field.transitions.answer(job_id, "go", b'"yes"')

            job = await field.until(job_id, *TERMINAL)

            assert (job.status, job.lost, job.attempt) == ("completed", 1, 1)
            assert msgspec.json.decode(job.result) == ["done", "yes"]
            words = field.words()
            # A step that was killed before its result was kept is the only one done twice.
            assert words.count("in-the-step") == (2 if point == "in the step" else 1)
            assert (await statuses(field, job_id)).count("input_required") == 1


@pytest.mark.slow
async def test_a_finish_that_redis_heard_is_not_done_again(field: Field) -> None:
    """The worker is killed after its job's end was written and before it hears so."""
    async with Proxy("127.0.0.1", field.server.port) as proxy:
        worker = await field.worker(url=f"redis://127.0.0.1:{proxy.port}/0")
        await field.until(await field.queue("once", seconds=0), *TERMINAL)
        finish = Scripts(Settings(lease=field.lease))["finish"].sha.encode()
        lost = proxy.lose_reply(finish)
        job_id = await field.queue("once", seconds=0)
        await lost.wait()
        os.kill(worker.pid, signal.SIGKILL)
        await worker.until_serving(2)
        await field.until(await field.queue("once", seconds=0), *TERMINAL)

    job = await field.job(job_id)
    assert (job.status, job.lost) == ("completed", 0)
    assert await statuses(field, job_id) == ["pending", "running", "completed"]
    assert field.words().count("start") == 3


@pytest.mark.slow
async def test_a_failover_to_a_replica_that_does_not_know_of_a_claim(field: Field) -> None:
    """The claim never was: its worker hears so at its next heartbeat, stops the code and writes
    nothing. The next claim has the same number, and another token."""
    mark = Mark()
    await field.worker("-c", "1")
    await field.redis.sadd(keys.PAUSED, "default")
    job_id = await field.queue("first_time_slow", mark=mark.text)
    past = {key: await field.redis.dump(key) for key in await field.redis.keys("*")}
    await field.transitions.pause("default", False)
    await wait_until(lambda: has_two(mark), "the command runs")
    [forgotten] = await field.store.job_fields(job_id, "token")

    pipe = field.redis.pipeline(transaction=True)
    pipe.flushall()
    for key, value in past.items():
        if value is not None:  # some last for a moment only
            pipe.restore(key, 0, value)
    pipe.srem(keys.PAUSED, "default")
    await pipe.execute()

    job = await field.until(job_id, *TERMINAL)
    assert (job.status, job.lost, job.attempt) == ("completed", 0, 1)
    assert mark.alive() == []
    assert await statuses(field, job_id) == ["pending", "running", "completed"]
    assert field.words() == ["start", "end", "start", "end"]
    [last, claims] = await field.store.job_fields(job_id, "last_token", "claims")
    assert forgotten is not None
    assert last is not None
    assert (claims, last.split(":")[0], forgotten.split(":")[0]) == ("1", "1", "1")
    assert last != forgotten
    with pytest.raises(StaleToken):
        await field.transitions.finish(job_id, forgotten, "completed", b"1")


@pytest.mark.slow
async def test_a_job_that_kills_its_worker_every_time_fails(
    own_valkey: Server, tmp_path: Path
) -> None:
    async with a_field(own_valkey, tmp_path, lease=1.0) as field:
        await field.worker(tasks=FAULTY)
        job_id = await field.queue("deadly")

        job = await field.until(job_id, *TERMINAL)

        assert job.error is not None
        assert (job.status, job.error.code, job.lost, job.attempt) == ("failed", "lost", 4, 1)
        assert field.words().count("deadly") == 4
        well = await field.until(await field.queue("once", seconds=0), *TERMINAL)
        assert (well.status, well.lost) == ("completed", 0)


@pytest.mark.slow
async def test_a_hundred_thousand_jobs_that_fall_due_together(
    redis: Redis, scripts: Scripts, store: Store, transitions: Transitions
) -> None:
    """No tick is long, and others get their turn between any two."""
    many = 100_000
    client: Any = redis
    first = await store.enqueue(NewJob(session_id="s1", task="work", delay=60))
    copy = """
        local prefix, first = KEYS[1], ARGV[1]
        local job = redis.call('HGETALL', prefix .. 'job:' .. first)
        for n = tonumber(ARGV[2]), tonumber(ARGV[3]) do
          local id = string.format('%012x', n) .. string.sub(first, 13)
          for i = 1, #job, 2 do
            if job[i] == 'id' then job[i + 1] = id end
          end
          redis.call('HSET', prefix .. 'job:' .. id, unpack(job))
          redis.call('ZADD', prefix .. 'delayed', 1, id)
        end"""
    for start in range(1, many, 2_000):
        last = min(start + 1_999, many - 1)
        await client.eval(copy, 1, keys.PREFIX, first.job.id, start, last)
    assert await client.zcard(keys.DELAYED) == many
    await client.zunionstore(keys.DELAYED, {keys.DELAYED: 0.0})

    ticks: list[Tick] = []
    ticker = Ticker(redis, scripts)
    once = ticker.once

    async def noted() -> Tick:
        ticks.append(await once())
        return ticks[-1]

    ticker.once = noted  # type: ignore[method-assign]
    ticking = asyncio.create_task(ticker.run())
    urgent = (await store.enqueue(NewJob(session_id="x", task="work", priority=0))).job.id
    [claim] = await transitions.claim(
        "w", "r", queues=["default"], tasks=["work"], lease=600, limit=1
    )
    assert claim.job_id == urgent
    assert await client.zcard(keys.DELAYED) > 0

    async def done() -> bool:
        return bool(await client.zcard(keys.DELAYED) == 0)

    await wait_until(done, "all are ready", timeout=90)
    ticking.cancel()
    await asyncio.gather(ticking, return_exceptions=True)
    assert await client.zcard(keys.ready("default")) == many
    assert max(tick.promoted for tick in ticks) == BATCH
