"""What keeps a job from starting is told, and that nothing does any more."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from hub.invariant import check
from hub.scripts import Scripts
from tests.integration.store.conftest import Driver
from tests.integration.store.publications import published


@pytest.fixture
def driver(redis: Redis, scripts: Scripts) -> Driver:
    return Driver(redis, scripts)


async def told(driver: Driver, act: Callable[[], Awaitable[Any]]) -> list[tuple[str, Any]]:
    """Of each event while `act()` runs, its type and what it says of `parked`, if anything."""
    seen = [json.loads(each.body) for each in await published(driver.redis, "s1", act)]
    return [(each["type"], each["data"].get("parked", "nothing")) for each in seen]


async def test_a_limit_is_told_and_its_end(driver: Driver, redis: Redis) -> None:
    first = await driver.queue(limits="key:a 1")
    second = await driver.queue(limits="key:a 1")
    await driver.claim()
    before = await driver.job(second)
    assert await told(driver, driver.claim) == [("job.progress", "limit:key:a")]
    job = await driver.job(second)
    assert (job.parked, job.rev) == ("limit:key:a", before.rev + 1)

    ended = await told(driver, lambda: driver.act("complete", first))
    assert ended == [("job.progress", None), ("job.completed", "nothing")]
    assert (await driver.job(second)).parked is None
    assert await told(driver, driver.claim) == [("job.running", "nothing")]
    assert await check(redis) == []


async def test_a_cancel_of_a_parked_job_clears_it(driver: Driver, redis: Redis) -> None:
    for _ in range(2):
        job_id = await driver.queue(limits="key:a 1")
    await driver.claim()
    await driver.claim()
    assert await told(driver, lambda: driver.do.cancel(job_id)) == [("job.cancelled", None)]
    assert (await driver.job(job_id)).parked is None
    assert await check(redis) == []


async def test_a_task_without_a_worker_is_told(driver: Driver, scripts: Scripts) -> None:
    job_id = await driver.queue()
    assert await told(driver, lambda: driver.claim(tasks="other")) == [
        ("job.progress", "task:work")
    ]
    announced = {"work": {"name": "work"}}
    assert await told(driver, lambda: driver.do.announce(announced)) == [("job.progress", None)]
    await driver.claim(tasks="other")
    await scripts.run(driver.redis, "heartbeat", "w2", 15_000, b"{}", ",work,", ",default,")
    assert await told(driver, driver.ticker.once) == [("job.progress", None)]
    assert (await driver.job(job_id)).parked is None
