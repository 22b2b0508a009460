"""What breaks other queues: lost replies, half-open connections, a Redis that is full, read-only or
forgetful, jobs that kill their worker, stepped clocks, and calls that race."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError, RedisError

from hub import keys
from hub.connection import connect
from hub.errors import Busy, Conflict, StaleToken
from hub.invariant import check
from hub.jobs import NewJob
from hub.scripts import Scripts
from hub.settings import Settings
from hub.states import TERMINAL
from hub.store import Store
from hub.tick import BATCH, Tick, Ticker
from hub.transitions import Transitions
from tests.conftest import Server, wait_until
from tests.failure.field import Field
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


async def events(field: Field, job_id: str) -> list[tuple[str, float]]:
    """A job's lifecycle as it was told: statuses and Redis's times, in seconds."""
    history = await field.store.history("s1", b"0-0")
    told = [msgspec.json.decode(entry.body) for entry in history.entries]
    return [
        (event["type"].removeprefix("job."), datetime.fromisoformat(event["time"]).timestamp())
        for event in told
        if event.get("job_id") == job_id
    ]


async def statuses(field: Field, job_id: str) -> list[str]:
    return [status for status, _ in await events(field, job_id)]


async def redis_time(field: Field) -> float:
    seconds, micros = await field.redis.time()
    return float(seconds + micros / 1e6)


# ------------------------------------------------------------------ lost replies


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

    lost = proxy.lose_reply(sha(field, script))
    job_id = await field.queue(task, **params)
    job = await field.until(job_id, *TERMINAL)

    assert lost.is_set()
    assert (job.status, job.lost, job.released) == ("completed", 0, 0)
    assert await statuses(field, job_id) == told
    assert field.words().count("start" if task == "once" else "try") == (2 if task == "once" else 4)


@pytest.mark.slow
async def test_a_worker_that_is_killed_before_it_hears_of_its_claim(
    field: Field, proxy: Proxy
) -> None:
    """The claim was made and nobody knows of it: it is lost, and the job is not."""
    worker = await field.worker(url=through(proxy))
    await field.until(await field.queue("once", seconds=0), *TERMINAL)
    lost = proxy.lose_reply(sha(field, "claim"))
    job_id = await field.queue("once", seconds=0)
    await lost.wait()
    os.kill(worker.pid, signal.SIGKILL)

    job = await field.until(job_id, *TERMINAL)

    assert job.status == "completed"
    assert job.lost <= 1
    assert field.words().count("start") == 2


# ------------------------------------------------------------------ connections


async def test_connections_that_are_killed_all_the_time(field: Field) -> None:
    await field.worker()
    ids = [await field.queue("counts", seconds=1.5) for _ in range(3)]
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


async def has_two(mark: Mark) -> bool:
    return len(mark.alive()) >= 2


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
    running = await field.queue("counts", seconds=1.0)
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
    job_id = await field.queue("counts", seconds=1.5)
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


@contextlib.asynccontextmanager
async def a_field(server: Server, folder: Path, lease: float) -> AsyncIterator[Field]:
    redis = connect(server.url)
    field = Field(server, redis, folder, server.url, lease)
    try:
        yield field
    finally:
        await field.close()
        await redis.aclose()


# ------------------------------------------------------------------ recovery


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


# ------------------------------------------------------------------ time


@pytest.mark.slow
@pytest.mark.parametrize("step", [60_000, -60_000, 3_600_000])
async def test_a_clock_that_is_stepped_loses_nothing(
    own_valkey: Server, tmp_path: Path, step: int
) -> None:
    from tests.failure import skewed

    skewed.install()
    try:
        async with a_field(own_valkey, tmp_path, lease=3.0) as field:
            worker = await field.worker("-c", "2", tasks="tests.failure.skewed")
            long = await field.queue("once", seconds=7)
            await field.until_noted("start")
            before = (await events(field, long))[-1][1]

            await field.redis.set(skewed.SKEW, step)

            job = await field.until(long, *TERMINAL)
            assert (job.status, job.lost, job.released, job.attempt) == ("completed", 0, 0, 1)
            moved = (await events(field, long))[-1][1] - before
            assert (moved > 50) if step > 0 else (moved < -50)
            # And whoever dies after the step is found to have died.
            killed = await field.queue("first_time_slow", path=str(tmp_path / "other"))
            await field.until(killed, "running")
            os.kill(worker.pid, signal.SIGKILL)
            job = await field.until(killed, *TERMINAL)
            assert (job.status, job.lost) == ("completed", 1)
    finally:
        skewed.uninstall()


@pytest.mark.slow
async def test_a_hundred_thousand_jobs_that_fall_due_together(
    redis: Redis, scripts: Scripts, store: Store, transitions: Transitions
) -> None:
    """No tick is long, and others get their turn between any two."""
    many = 100_000
    client: Any = redis
    source = scripts["pause"].source
    prelude = source[: source.index("-- KEYS 1 prefix")]
    # Jobs of the queue `agent` are in no list and no event, and so are soon made.
    make = """
        for n = 1, 2000 do
          local hex = random_hex()
          create({id = string.sub(hex, 1, 8) .. '-0000-7000-8000-' .. string.sub(hex, 9, 20),
            session_id = 's' .. n % 50, task = 'work', queue = 'agent', priority = '5',
            max_attempts = '1', params = '{}'}, {due = now() + 60000})
        end
        return 1"""
    for n in range(many // 2000):
        await client.eval(prelude + make, 1, keys.PREFIX, f"seed{n}")
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
    assert await client.zcard(keys.ready("agent")) == many
    assert max(tick.promoted for tick in ticks) == BATCH


# ------------------------------------------------------------------ races


@pytest.mark.parametrize("rival", ["claim", "complete", "retry", "release", "cancel", "ask"])
async def test_cancel_against(valkey: Server, settings: Settings, rival: str) -> None:
    await races(valkey, settings, "cancel", rival)


@pytest.mark.parametrize("rival", ["complete", "retry", "release", "cancel", "ask", "heartbeat"])
async def test_the_reaper_against(valkey: Server, settings: Settings, rival: str) -> None:
    await races(valkey, settings, "reap", rival)


#: What each may be refused with when the other one came first.
REFUSED = (Conflict, StaleToken)


async def races(server: Server, settings: Settings, one: str, other: str) -> None:
    """Both at the same moment, from two connections, many times and in either order; whichever was
    first, the job has one story, and its last word is where it is."""
    first, second = connect(server.url), connect(server.url)
    scripts = Scripts(settings)
    store, do = Store(first, scripts), Transitions(first, scripts)
    error = b'{"code":"error","message":"x"}'
    seen: set[tuple[str, ...]] = set()
    for n in range(30):
        sid = f"s{n}"
        job_id = (await store.enqueue(NewJob(session_id=sid, task="work", max_attempts=2))).job.id
        token = ""
        if "claim" not in (one, other):
            [claim] = await do.claim(
                "w", f"r{n}", queues=["default"], tasks=["work"], lease=15, limit=1
            )
            token = claim.token
        if "reap" in (one, other):
            await first.zadd(keys.RUNNING, {job_id: 1})

        def act(
            what: str, redis: Redis, job_id: str = job_id, token: str = token, n: int = n
        ) -> Any:
            rival = Transitions(redis, scripts)
            calls: dict[str, Callable[[], Awaitable[Any]]] = {
                "claim": lambda: rival.claim(
                    "w", f"c{n}", queues=["default"], tasks=["work"], lease=15, limit=1
                ),
                "complete": lambda: rival.finish(job_id, token, "completed", b"1"),
                "retry": lambda: rival.retry(job_id, token, 60, error),
                "release": lambda: rival.release(job_id, token),
                "ask": lambda: rival.ask(
                    job_id, token, "q", b'"id":"q","kind":"question","prompt":"?"'
                ),
                "cancel": lambda: rival.cancel(job_id),
                "heartbeat": lambda: rival.heartbeat("w", 15, [(job_id, token)]),
                "reap": lambda: Ticker(redis, scripts).once(),
            }
            return calls[what]()

        await first.hset(keys.TICK, mapping={"until": 0})
        pair = [act(one, first), act(other, second)]
        done = await asyncio.gather(*(pair if n % 2 else pair[::-1]), return_exceptions=True)
        assert all(
            isinstance(each, REFUSED) or not isinstance(each, BaseException) for each in done
        ), done
        found = await store.job(job_id)
        assert found is not None
        told = [
            msgspec.json.decode(entry.body)["type"].removeprefix("job.")
            for entry in (await store.history(sid, b"0-0")).entries
        ]
        assert told[-1] == found.status
        assert sum(status in TERMINAL for status in told) == (found.status in TERMINAL)
        seen.add(tuple(told))
        if found.status not in TERMINAL:
            await do.cancel(job_id)
            held = (await store.job_fields(job_id, "token"))[0]
            if held:
                await do.finish(job_id, held, "cancelled")
    assert len(seen) <= 2, seen
    assert await check(first) == []
    await first.aclose()
    await second.aclose()
