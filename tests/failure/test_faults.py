"""What breaks other queues: lost replies, half-open connections, a Redis that is full, read-only or
forgetful, jobs that kill their worker, stepped clocks, and calls that race."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from redis.exceptions import OutOfMemoryError, RedisError

from hub import keys
from hub.errors import Busy
from hub.jobs import NewJob
from hub.scripts import Scripts
from hub.settings import Settings
from hub.states import TERMINAL
from tests.conftest import wait_until
from tests.failure.field import Field, has_two, statuses
from tests.liveness import Mark
from tests.proxy import Proxy

FAULTY = "tests.failure.faulty_tasks"


@pytest.fixture
async def proxy(field: Field) -> AsyncIterator[Proxy]:
    async with Proxy("127.0.0.1", field.server.port) as proxy:
        yield proxy


def through(proxy: Proxy) -> str:
    return f"redis://127.0.0.1:{proxy.port}/0"


def sha(field: Field, script: str) -> bytes:
    return Scripts(Settings(lease=field.lease))[script].sha.encode()


# ------------------------------------------------------------------ lost replies


async def losing(field: Field, proxy: Proxy, script: str) -> asyncio.Event:
    """The reply to the next call of a script will be lost; the event is set when it has been."""
    lost = proxy.lose_reply(sha(field, script))
    if script == "claim":
        # The claim that an idle worker waits with is on its way already: this lets it end.
        await field.until(await field.queue("once", seconds=0), *TERMINAL)
    return lost


@pytest.mark.parametrize(
    ("script", "task", "told"),
    [
        ("claim", "once", ["pending", "running", "completed"]),
        ("finish", "once", ["pending", "running", "completed"]),
        (
            "retry",
            "second_try",
            ["pending", "running", "retrying", "running", "completed"],
        ),
    ],
)
async def test_a_lost_reply_is_asked_for_again(
    field: Field, proxy: Proxy, script: str, task: str, told: list[str]
) -> None:
    await field.worker(url=through(proxy), tasks=FAULTY)
    params: dict[str, Any] = {"seconds": 0} if task == "once" else {}
    first = await field.queue(task, **params)
    await field.until(first, *TERMINAL)

    lost = await losing(field, proxy, script)
    job_id = await field.queue(task, **params)
    job = await field.until(job_id, *TERMINAL)

    assert lost.is_set()
    assert (job.status, job.lost, job.released) == ("completed", 0, 0)
    assert await statuses(field, job_id) == told
    ran = field.words().count("start" if task == "once" else "try")
    assert ran == {"claim": 3, "finish": 2, "retry": 4}[script]


@pytest.mark.slow
async def test_a_worker_that_is_killed_before_it_hears_of_its_claim(
    field: Field, proxy: Proxy
) -> None:
    """The claim was made and nobody knows of it: it is lost, and the job is not."""
    worker = await field.worker(url=through(proxy))
    await field.until(await field.queue("once", seconds=0), *TERMINAL)
    lost = await losing(field, proxy, "claim")
    job_id = await field.queue("once", seconds=0)
    await lost.wait()
    os.kill(worker.pid, signal.SIGKILL)

    job = await field.until(job_id, *TERMINAL)

    assert job.status == "completed"
    assert job.lost <= 1
    assert field.words().count("start") == 3


# ------------------------------------------------------------------ connections


async def test_connections_that_are_killed_all_the_time(field: Field) -> None:
    await field.worker()
    ids = [await field.queue("counts", seconds=1) for _ in range(3)]
    await field.until_noted("start", 3)
    killed = 0
    while field.words().count("end") < 3:
        for kind in ("normal", "pubsub"):
            killed += await field.redis.execute_command("CLIENT", "KILL", "TYPE", kind)
        await wait_until(lambda: has_clients(field), "somebody comes back")

    for job_id in ids:
        job = await field.until(job_id, *TERMINAL)
        assert (job.status, job.lost, job.released, job.attempt) == ("completed", 0, 0, 1)
        assert msgspec.json.decode(job.result) == job.log_lines
    assert killed > 10


async def has_clients(field: Field) -> bool:
    info = await field.redis.info("clients")
    return int(info["connected_clients"]) > 1


@pytest.mark.slow
async def test_connections_that_turn_half_open(field: Field, proxy: Proxy) -> None:
    """Nobody tells the worker that its connections are dead; it finds out in time."""
    await field.worker(url=through(proxy))
    mark = Mark()
    long = await field.queue("once", seconds=600, mark=mark.text)
    await wait_until(lambda: has_two(mark), "the command runs")

    assert proxy.silence() >= 3
    queued = await field.queue("once", seconds=0)
    await field.transitions.cancel(long)

    # The nudge went nowhere; a heartbeat brings the word, and so does the next claim the job.
    assert (await field.until(long, *TERMINAL)).status == "cancelled"
    assert mark.alive() == []
    job = await field.until(queued, *TERMINAL)
    assert (job.status, job.lost) == ("completed", 0)


# ------------------------------------------------------------------ a Redis that is not well


async def test_scripts_that_are_forgotten_all_the_time(field: Field) -> None:
    await field.worker("-c", "4")
    ids = []
    for n in range(60):
        await field.redis.script_flush()
        ids.append(await field.queue("once", seconds=0))
        if n % 10 == 0:
            new = NewJob(
                session_id="s1",
                task="once",
                params=msgspec.json.encode({"path": str(field.notes), "seconds": 0}),
                durable=True,
            )
            ids.append((await field.store.enqueue(new)).job.id)

    async def all_ended() -> bool:
        await field.redis.script_flush()
        jobs = await field.store.jobs_by_id(ids)
        return all(job.terminal for job in jobs)

    await wait_until(all_ended, "all have ended")
    jobs = await field.store.jobs_by_id(ids)
    assert {(job.status, job.lost, job.attempt) for job in jobs} == {("completed", 0, 1)}
    assert field.words().count("start") == len(ids)


async def test_a_redis_that_is_full_ends_what_runs_and_then_goes_on(field: Field) -> None:
    await field.worker("-c", "1")
    running = await field.queue("counts", seconds=1)
    waiting = await field.queue("once", seconds=0)
    await field.until_noted("start")

    await field.redis.config_set("maxmemory", "1mb")
    with pytest.raises(Busy, match="maxmemory"):
        await field.queue("once", seconds=0)
    with pytest.raises(OutOfMemoryError):
        await field.redis.set("x", "y")
    assert (await field.until(running, *TERMINAL)).status == "completed"
    # What is not an ending waits: nothing is taken that could not be told of.
    assert (await field.job(waiting)).status == "pending"
    await field.redis.config_set("maxmemory", "0")

    job = await field.until(waiting, *TERMINAL)
    assert (job.status, job.lost, job.released) == ("completed", 0, 0)


async def test_a_primary_that_turns_read_only_for_a_while(field: Field) -> None:
    """As in a failover: what was the primary is a replica, and then one is promoted."""
    await field.worker()
    job_id = await field.queue("counts", seconds=1)
    await field.until_noted("start")

    await field.redis.execute_command("REPLICAOF", "127.0.0.1", "1")
    with pytest.raises(RedisError, match="read only"):
        await field.redis.set("x", "y")
    await field.until_noted("end")
    assert (await field.job(job_id)).status == "running"
    await field.redis.execute_command("REPLICAOF", "NO", "ONE")

    job = await field.until(job_id, *TERMINAL)
    assert (job.status, job.lost, job.released, job.attempt) == ("completed", 0, 0, 1)
    assert msgspec.json.decode(job.result) == job.log_lines
    job = await field.until(await field.queue("once", seconds=0), *TERMINAL)
    assert job.status == "completed"


# ------------------------------------------------------------------ deployments and payloads


async def test_a_task_that_only_newer_workers_know_waits_for_one(field: Field) -> None:
    old = await field.worker()
    unknown = [await field.queue("second_try") for _ in range(3)]
    known = await field.queue("once", seconds=0)
    assert (await field.until(known, *TERMINAL)).status == "completed"

    async def parked() -> bool:
        return bool(await field.redis.zcard(keys.parked("task:second_try")) == 3)

    await wait_until(parked, "the unknown ones are parked")
    assert [(await field.job(job_id)).status for job_id in unknown] == ["pending"] * 3

    await field.worker(tasks=FAULTY)

    for job_id in unknown:
        job = await field.until(job_id, *TERMINAL)
        assert (job.status, job.attempt, job.lost) == ("completed", 2, 0)
    assert old.warden.returncode is None


async def test_payloads_that_are_damaged_or_huge_harm_their_own_job_only(field: Field) -> None:
    await field.redis.sadd(keys.PAUSED, "default")
    path = msgspec.json.encode(str(field.notes))
    damaged = {
        "no JSON": b'{"path":',
        "no text": b"\xff\xfe\x00",
        "another type": b'{"path":' + path + b',"number":"x"}',
        "no object": b"[1,2]",
        "huge": b'{"path":' + path + b',"number":"' + b"9" * 8_000_000 + b'"}',
    }
    ids = []
    for params in damaged.values():
        job_id = await field.queue("typed", number=1)
        await field.redis.hset(keys.job(job_id), "params", params)
        ids.append(job_id)
    gone = await field.queue("typed", number=1)
    await field.redis.delete(keys.job(gone))
    broken = await field.queue("typed", number=1)
    await field.redis.hdel(keys.job(broken), "rev", "task")
    well = await field.queue("typed", number=7)
    worker = await field.worker(tasks=FAULTY)
    await field.transitions.pause("default", False)

    job = await field.until(well, *TERMINAL)
    assert (job.status, msgspec.json.decode(job.result)) == ("completed", 7)
    for job_id in ids:
        job = await field.until(job_id, *TERMINAL)
        assert job.error is not None
        assert (job.status, job.error.code) == ("failed", "invalid_params")
    assert field.words() == ["typed"]
    assert worker.warden.returncode is None
    for job_id in (gone, broken):
        await field.redis.delete(keys.job(job_id))
        await field.redis.zrem(keys.active("s1"), job_id)
