"""Jobs that end in the same turn of the loop end in one script, each on its own."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from hub import keys
from hub.calls import Calls
from hub.claims import Claim
from hub.endings import Endings
from hub.errors import StaleToken
from hub.jobs import NewJob
from hub.scripts import Scripts
from hub.store import Store
from hub.transitions import Transitions


async def _claims(store: Store, do: Transitions, count: int) -> list[Claim]:
    for number in range(count):
        await store.enqueue(NewJob(session_id=f"s{number}", task="t"))
    return await do.claim("w", "r", queues=["default"], tasks=["t"], lease=15, limit=count)


async def test_those_of_one_turn_are_one_call(redis: Redis, store: Store, scripts: Scripts) -> None:
    async with Calls(redis) as calls:
        do = Transitions(redis, scripts, calls)
        claims = await _claims(store, do, 5)
        await redis.config_resetstat()

        ends = [do.finish(claim.job_id, claim.token, "completed", b"1") for claim in claims]
        assert await asyncio.gather(*ends) == ["completed"] * 5

        stats: dict[str, Any] = await redis.info("commandstats")
        assert stats["cmdstat_evalsha"]["calls"] <= 2  # the first may have had to load it
    for claim in claims:
        job = await store.job(claim.job_id)
        assert job is not None
        assert job.status == "completed"


async def test_one_that_cannot_end_stops_no_other(
    redis: Redis, store: Store, transitions: Transitions
) -> None:
    good, stale, broken = await _claims(store, transitions, 3)
    await redis.set(keys.events(broken.session_id), "no stream")

    ends = await asyncio.gather(
        transitions.finish(broken.job_id, broken.token, "completed"),
        transitions.finish(stale.job_id, "1:1", "completed"),
        transitions.finish(good.job_id, good.token, "completed"),
        return_exceptions=True,
    )

    assert isinstance(ends[0], ResponseError)
    assert isinstance(ends[1], StaleToken)
    assert ends[2] == "completed"
    await redis.flushdb()  # what was broken here is not to be found wanting


async def test_the_others_are_told_when_the_caller_is_cancelled() -> None:
    called = asyncio.Event()

    async def run(*_: object) -> None:
        called.set()
        await asyncio.Event().wait()

    endings = Endings(run)
    first = asyncio.create_task(endings.finish("a", "t", "completed"))
    second = asyncio.create_task(endings.finish("b", "t", "completed"))
    await called.wait()
    first.cancel()

    with pytest.raises(RedisConnectionError):
        await second
    with pytest.raises(asyncio.CancelledError):
        await first
