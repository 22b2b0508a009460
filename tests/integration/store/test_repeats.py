"""Calls that are repeated because their reply was lost, soon or after a long outage; and what a
forgotten session no longer holds; and what is damaged."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from hub import keys
from hub.connection import connect
from hub.errors import NotFound
from hub.jobs import NewJob
from hub.scripts import Scripts
from hub.store import Store
from tests.conftest import Server
from tests.integration.store.conftest import Driver
from tests.proxy import Proxy


@pytest.fixture
async def proxy(valkey: Server) -> AsyncIterator[Proxy]:
    async with Proxy("127.0.0.1", valkey.port) as proxy:
        yield proxy


@pytest.fixture
async def far(proxy: Proxy) -> AsyncIterator[Redis]:
    client = connect(f"redis://127.0.0.1:{proxy.port}/0")
    yield client
    await client.aclose()


async def test_an_enqueue_whose_reply_was_lost_says_that_it_queued(
    driver: Driver, far: Redis, proxy: Proxy, scripts: Scripts
) -> None:
    await driver.queue("s2")
    lost = proxy.lose_reply(scripts["enqueue"].sha.encode())
    made = await Store(far, scripts).enqueue(NewJob(session_id="s1", task="work"))
    assert lost.is_set()
    assert made.created
    assert await driver.types() == ["job.pending"]


async def test_the_token_of_a_foreign_job_survives_a_lost_reply(
    driver: Driver, far: Redis, proxy: Proxy, scripts: Scripts
) -> None:
    await driver.queue("s2")
    lost = proxy.lose_reply(scripts["enqueue"].sha.encode())
    made = await Store(far, scripts).enqueue(NewJob(session_id="s1", task="theirs", queue=None))
    assert lost.is_set()
    assert made.token is not None
    assert await driver.do.finish(made.job.id, made.token, "completed", b"1") == "completed"


async def test_a_claimed_jobs_token_is_not_told_to_who_queued_it(
    driver: Driver, scripts: Scripts
) -> None:
    new = NewJob(session_id="s1", task="work", idempotency_key="once")
    await driver.store.enqueue(new)
    await driver.claim()
    assert (await driver.store.enqueue(new)).token is None


async def test_a_claim_is_answered_again_however_long_the_outage(driver: Driver) -> None:
    job_id = await driver.queue()

    async def claim(request: str) -> list[str]:
        claims = await driver.do.claim(
            "w1", request, queues=["default"], tasks=["work"], lease=0.001, limit=5
        )
        return [claim.token for claim in claims]

    first = await claim("lost")
    kept = keys.reply("w1", "default")
    assert await driver.redis.pttl(kept) > 3_600_000
    assert await claim("lost") == first
    # Its lease is over, and nobody has taken the job: it is renewed.
    assert await driver.state(job_id) == "running"
    assert await claim("next") == []
    # Another worker's same words are no repeat.
    assert (
        await driver.do.claim("w2", "lost", queues=["default"], tasks=["work"], lease=15, limit=5)
        == []
    )
    await driver.act("reap", job_id)
    assert await claim("lost") == []


async def test_a_new_session_owes_nothing_to_the_one_that_was_forgotten(driver: Driver) -> None:
    new = NewJob(session_id="s1", task="work", key="k", idempotency_key="i")
    old = (await driver.store.enqueue(new)).job.id
    await driver.claim()
    await driver.store.forget("s1")
    assert await driver.state(old) == "cancelling"

    again = await driver.store.enqueue(new)

    assert again.created
    await driver.do.finish(old, driver.tokens[old], "cancelled")
    assert (await driver.store.enqueue(new)).job.id == again.job.id
    assert await driver.types() == ["job.pending"]


async def test_a_confirm_that_comes_after_expires_in_is_too_late(driver: Driver) -> None:
    job_id = await driver.queue(confirm="Sure?", expires_in=0.0)
    assert (await driver.ticker.once()).expired == 0
    assert await driver.state(job_id) == "waiting"
    await driver.do.answer(job_id, "confirm", b'"yes"')
    assert (await driver.ticker.once()).expired == 1
    job = await driver.job(job_id)
    assert job.error is not None
    assert (job.status, job.error.code) == ("failed", "expired")


@pytest.mark.parametrize("place", ["ready", "delayed", "running", "parked", "expiring", "waiting"])
async def test_a_damaged_job_stops_no_other(driver: Driver, place: str) -> None:
    """Whatever a hand or a disk has left of it, claims and ticks go on, and so do lists."""
    how: dict[str, dict[str, Any]] = {
        "delayed": {"delay": 60.0},
        "expiring": {"expires_in": 60.0},
        "waiting": {"confirm": "?"},
    }
    broken = await driver.queue(**how.get(place, {}))
    if place == "running":
        await driver.claim()
    if place == "parked":
        await driver.claim(tasks="another")
    well = await driver.queue("s2")
    await driver.redis.hdel(keys.job(broken), "rev", "priority", "updated_at")
    for zset in (keys.DELAYED, keys.RUNNING, keys.EXPIRING, keys.parked("task:work")):
        if await driver.redis.zscore(zset, broken) is not None:
            await driver.redis.zadd(zset, {broken: 1})

    await driver.ticker.once()
    await driver.do.announce({"work": {"name": "work"}})
    assert [claim.job_id for claim in await driver.claim(limit=5)] == [well]
    await driver.do.finish(well, driver.tokens[well], "completed", b"1")
    with pytest.raises(NotFound):
        await driver.do.cancel(broken)
    assert [job.id for job in (await driver.store.jobs()).jobs] == [well]
    assert (await driver.store.snapshot("s1")).jobs == []

    await driver.store.forget("s1")
    await driver.redis.delete(keys.job(broken))
    await driver.redis.zrem(keys.WAITING, broken)


async def test_params_of_megabytes_or_no_json_at_all_pass_through(driver: Driver) -> None:
    for params in (b'{"a":"' + b"x" * 5_000_000 + b'"}', b'{"a":', b"\xff\x00"):
        job_id = await driver.queue()
        await driver.redis.hset(keys.job(job_id), "params", params)
        [claim] = await driver.claim()
        assert claim.params == params
        await driver.do.finish(job_id, claim.token, "failed", b'{"code":"error","message":"x"}')
