"""One job for one wish: keys, idempotency and repeats."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError

from hub import keys
from hub.errors import Busy, Conflict, NotFound
from hub.jobs import NewJob
from hub.scripts import Scripts
from hub.settings import Settings
from tests.integration.store.conftest import Driver


@pytest.mark.parametrize(
    "repeat", ["complete", "fail", "confirm_cancel", "retry", "release", "ask", "cancel", "answer"]
)
async def test_a_repeat_changes_nothing(driver: Driver, repeat: str) -> None:
    start = {"confirm_cancel": "cancelling", "answer": "waiting"}.get(repeat, "running")
    job_id = await driver.reach(start)
    await driver.act(repeat, job_id)
    job, types = await driver.job(job_id), await driver.types()
    if repeat == "answer":
        await driver.do.answer(job_id, "confirm", b'"yes"')
    else:
        await driver.act(repeat, job_id)
    assert (await driver.job(job_id)).rev == job.rev
    assert await driver.types() == types


async def test_a_repeated_enqueue_is_one_job(driver: Driver) -> None:
    job_id = await driver.queue()
    again = await driver.store.enqueue(NewJob(session_id="s1", task="work"), job_id)
    assert (again.created, again.job.id) == (False, job_id)
    assert await driver.types() == ["job.pending"]


async def test_keys_name_one_live_job(driver: Driver) -> None:
    first = await driver.queue(key="nightly")
    again = await driver.store.enqueue(NewJob(session_id="s1", task="work", key="nightly"))
    other = await driver.store.enqueue(NewJob(session_id="s2", task="work", key="nightly"))
    assert (again.created, again.job.id) == (False, first)
    assert other.created
    await driver.do.cancel(first)
    assert (await driver.store.enqueue(NewJob(session_id="s1", task="work", key="nightly"))).created


async def test_an_idempotency_key_outlives_its_job(driver: Driver) -> None:
    new = NewJob(session_id="s1", task="work", idempotency_key="k", credential="ci")
    first = await driver.store.enqueue(new)
    await driver.do.cancel(first.job.id)
    assert (await driver.store.enqueue(new)).job.id == first.job.id
    elsewhere = NewJob(session_id="s1", task="work", idempotency_key="k", credential="other")
    assert (await driver.store.enqueue(elsewhere)).created


async def test_two_clicks_on_retry_make_one_job(driver: Driver) -> None:
    old = await driver.reach("failed")
    new = NewJob(session_id="s1", task="work", retry_of=old)
    first, second = await driver.store.enqueue(new), await driver.store.enqueue(new)
    assert (first.created, second.created) == (True, False)
    assert first.job.id == second.job.id
    assert (await driver.job(old)).retried_by == first.job.id
    assert (await driver.types())[-1] == "job.pending"
    assert (await driver.types()).count("job.pending") == 2
    with pytest.raises(Conflict, match="pending"):
        await driver.store.enqueue(NewJob(session_id="s1", task="work", retry_of=first.job.id))
    with pytest.raises(NotFound):
        await driver.store.enqueue(NewJob(session_id="s1", task="work", retry_of="nope"))


async def test_a_full_outbox_stops_queueing_but_never_an_ending(
    redis: Redis, settings: Settings
) -> None:
    small = Settings(redis_url=settings.redis_url, outbox_entries=1)
    driver = Driver(redis, Scripts(small))
    await driver.redis.hset(keys.HOOKED, "*", ",job.running,job.completed,")
    job_id = await driver.reach("running")
    with pytest.raises(Busy, match="webhooks"):
        await driver.queue()
    assert await driver.do.finish(job_id, driver.tokens[job_id], "completed", b"1") == "completed"


async def test_no_memory_stops_queueing_but_never_an_ending(driver: Driver) -> None:
    job_id, doomed = await driver.reach("running"), await driver.reach("running")
    held = [(i, driver.tokens[i]) for i in (job_id, doomed)]
    await driver.redis.config_set("maxmemory", "1mb")
    try:
        with pytest.raises(Busy, match="maxmemory"):
            await driver.queue()
        with pytest.raises(OutOfMemoryError):
            await driver.do.progress(job_id, driver.tokens[job_id], b'{"percent":1}')
        assert await driver.do.heartbeat("w1", 15, held) == ["running", "running"]
        await driver.do.finish(job_id, driver.tokens[job_id], "completed", b"1")
        await driver.do.cancel(doomed)
        await driver.do.release(doomed, driver.tokens[doomed])
        await driver.ticker.once()
    finally:
        await driver.redis.config_set("maxmemory", "0")
    assert await driver.state(job_id) == "completed"
    assert await driver.state(doomed) == "cancelled"
