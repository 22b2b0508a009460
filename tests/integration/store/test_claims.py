"""Who gets which job, in which order, and what a token is good for."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hub import keys
from hub.errors import Conflict, NotFound, StaleToken
from hub.scripts import Scripts
from tests.integration.store.conftest import Driver
from tests.integration.store.publications import ERROR


async def test_a_repeated_claim_answers_the_same(driver: Driver) -> None:
    for _ in range(3):
        await driver.queue()

    async def claim() -> list[Any]:
        return list(
            await driver.do.claim(
                "w1", "same", queues=["default"], tasks=["work"], lease=15, limit=2
            )
        )

    first = await claim()
    assert len(first) == 2
    assert await claim() == first
    await driver.do.finish(first[0].job_id, first[0].token, "completed", b"1")
    assert await claim() == first[1:]


async def test_a_stale_token_writes_nothing(driver: Driver) -> None:
    job_id = await driver.reach("running")
    old = driver.tokens[job_id]
    await driver.act("reap", job_id)
    await driver.claim(worker="w2")
    before = await driver.job(job_id)
    calls = [
        driver.do.finish(job_id, old, "completed", b"1"),
        driver.do.finish(job_id, old, "failed", ERROR),
        driver.do.retry(job_id, old, 1, ERROR),
        driver.do.release(job_id, old),
        driver.do.ask(job_id, old, "q", b'"id":"q","kind":"question","prompt":"?"'),
        driver.do.withdraw(job_id, old),
        driver.do.progress(job_id, old, b'{"percent":1}'),
        driver.do.log(job_id, old, 1, [b'{"text":"x"}']),
        driver.do.step(job_id, old, "a", b"1"),
    ]
    for call in calls:
        with pytest.raises(StaleToken, match=job_id):
            await call
    assert await driver.do.heartbeat("w1", 15, [(job_id, old)]) == ["lost"]
    assert await driver.job(job_id) == before
    assert await driver.do.memo(job_id) == {}


async def test_tokens_and_nonces_are_never_the_same(driver: Driver) -> None:
    ids = [await driver.queue() for _ in range(20)]
    claims = await driver.claim(limit=20)
    assert len({claim.token for claim in claims}) == 20
    entries = (await driver.store.history("s1", b"0-0")).entries
    assert len({entry.cursor.split(b"-")[1] for entry in entries}) == 40
    assert {claim.job_id for claim in claims} == set(ids)


async def test_heartbeat_extends_and_tells(driver: Driver) -> None:
    running, cancelling = await driver.reach("running"), await driver.reach("cancelling")
    held = [(job_id, driver.tokens[job_id]) for job_id in (running, cancelling)]
    await driver.redis.zadd(keys.RUNNING, {running: 1, cancelling: 1})
    assert await driver.do.heartbeat("w1", 15, held) == ["running", "cancelling"]
    await driver.ticker.once()
    assert await driver.state(running) == "running"


async def test_priority_and_order(driver: Driver) -> None:
    late = [await driver.queue(priority=5) for _ in range(2)]
    urgent = await driver.queue(priority=0)
    lazy = await driver.queue(priority=9)
    claims = await driver.claim(limit=9)
    assert [claim.job_id for claim in claims] == [urgent, *late, lazy]


async def test_sessions_take_turns(driver: Driver) -> None:
    for _ in range(50):
        await driver.queue("busy")
    await driver.claim(limit=10)
    quiet = await driver.queue("quiet")
    claims = await driver.claim(limit=2)
    assert quiet in [claim.job_id for claim in claims]


async def test_delayed_jobs_are_promoted_when_due(driver: Driver) -> None:
    job_id = await driver.queue(delay=60.0)
    await driver.ticker.once()
    assert await driver.claim() == []
    await driver.redis.zadd(keys.DELAYED, {job_id: 1})
    assert (await driver.ticker.once()).promoted == 1
    assert [claim.job_id for claim in await driver.claim()] == [job_id]


async def test_an_unknown_task_is_parked_until_it_is_announced(driver: Driver) -> None:
    job_id = await driver.queue()
    assert await driver.claim(tasks="another") == []
    assert await driver.state(job_id) == "pending"
    assert await driver.types() == ["job.pending"]
    assert await driver.do.announce({"work": {"name": "work"}}) == 1
    assert [claim.job_id for claim in await driver.claim()] == [job_id]
    announced = await driver.store.task("work")
    assert announced is not None
    assert set(announced) == {"name", "announced_at"}


async def test_a_parked_job_is_taken_up_when_a_live_worker_has_its_task(
    driver: Driver, scripts: Scripts
) -> None:
    job_id = await driver.queue()
    await driver.claim(tasks="another")
    await scripts.run(driver.redis, "heartbeat", "w2", 15_000, b"{}", ",work,", ",default,")
    assert (await driver.ticker.once()).unparked == 1
    assert [claim.job_id for claim in await driver.claim()] == [job_id]


async def test_answers_and_steps_outlive_a_crash(driver: Driver) -> None:
    job_id = await driver.reach("input_required")
    token = driver.tokens[job_id]
    await driver.do.step(job_id, token, "fetch", b'{"n":1}')
    await driver.act("reap", job_id)
    assert await driver.state(job_id) == "waiting"
    await driver.do.answer(job_id, "q1", b'"blue"')
    [claim] = await driver.claim()
    assert claim.memo
    assert await driver.do.memo(job_id) == {"answer:q1": b'"blue"', "step:fetch": b'{"n":1}'}
    asked = await driver.do.ask(job_id, claim.token, "q1", b'"id":"q1"')
    assert (asked.status, asked.answer) == ("running", b'"blue"')


async def test_answers_to_the_wrong_question(driver: Driver) -> None:
    job_id = await driver.reach("input_required")
    with pytest.raises(Conflict, match="q1"):
        await driver.do.answer(job_id, "other", b"1")
    with pytest.raises(Conflict, match="one question"):
        await driver.do.ask(job_id, driver.tokens[job_id], "q2", b'"id":"q2"')
    await driver.do.answer(job_id, "q1", b"1")
    with pytest.raises(Conflict, match="already"):
        await driver.do.answer(job_id, "q1", b"2")
    with pytest.raises(NotFound):
        await driver.do.answer("nope", "q1", b"1")


async def test_cancelling_tells_the_worker(driver: Driver) -> None:
    job_id = await driver.reach("running")
    pubsub = driver.redis.pubsub()
    await pubsub.ssubscribe(keys.CONTROL)
    await pubsub.get_message(timeout=60)
    await driver.do.cancel(job_id)
    message = await pubsub.get_message(timeout=60)
    assert message["data"] == f"cancel {job_id}".encode()
    await pubsub.aclose()


async def test_wake_markers_wake_one_worker_per_job(driver: Driver) -> None:
    await driver.queue()
    await driver.queue()
    assert await driver.woken()
    await driver.claim()
    assert await driver.woken()
    await driver.claim()
    assert not await driver.woken(0.05)


async def test_a_paused_queue_hands_out_nothing(driver: Driver) -> None:
    await driver.queue()
    assert await driver.do.pause("default", True)
    assert await driver.claim() == []
    assert await driver.do.pause("default", False)
    assert len(await driver.claim()) == 1


async def test_many_callers_at_once_claim_each_job_once(driver: Driver) -> None:
    for _ in range(60):
        await driver.queue()
    claims = await asyncio.gather(*(driver.claim(limit=7, worker=f"w{n}") for n in range(12)))
    ids = [claim.job_id for batch in claims for claim in batch]
    assert len(ids) == len(set(ids)) == 60
