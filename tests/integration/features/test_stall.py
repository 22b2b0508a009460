"""A job that runs and tells nothing for too long says so, until it tells something."""

from __future__ import annotations

import json
from typing import Any

import pytest
from redis.asyncio import Redis

from hub import keys
from hub.agent.announced import Tasks
from hub.agent.telling import status as told_status
from hub.invariant import check
from hub.jobs import Job
from hub.scripts import Scripts
from tests.integration.store.conftest import Driver
from tests.integration.store.publications import published
from worker import task
from worker.tasks import TaskError

LINE = b'{"stream":"stdout","text":"a"}'


@pytest.fixture
def driver(redis: Redis, scripts: Scripts) -> Driver:
    return Driver(redis, scripts)


async def running(driver: Driver, **fields: Any) -> tuple[str, str]:
    job_id = await driver.queue(stall_after=60.0, **fields)
    [claim] = await driver.claim()
    return job_id, claim.token


async def pass_time(driver: Driver, job_id: str) -> None:
    """As if the job had been silent for a minute."""
    if await driver.redis.zscore(keys.QUIET, job_id) is not None:
        await driver.redis.zincrby(keys.QUIET, -61_000, job_id)
    await driver.ticker.once()


async def told(driver: Driver, act: Any) -> list[dict[str, Any]]:
    """The data of the progress events that are published while `act()` runs."""
    seen = await published(driver.redis, "s1", act)
    return [json.loads(each.body)["data"] for each in seen if each.kind == "P"]


async def test_silence_is_told_with_the_progress(driver: Driver, redis: Redis) -> None:
    job_id, token = await running(driver)
    await driver.do.progress(job_id, token, b'{"percent":10}')
    [data] = await told(driver, lambda: pass_time(driver, job_id))

    job = await driver.job(job_id)
    assert data == {"progress": {"percent": 10}, "stalled_since": job.stalled_since}
    assert job.stalled_since is not None
    assert job.stalled_since < job.updated_at
    assert await told(driver, lambda: pass_time(driver, job_id)) == []
    assert await check(redis) == []


async def test_progress_ends_the_silence(driver: Driver) -> None:
    job_id, token = await running(driver)
    await pass_time(driver, job_id)
    progress = b'{"percent":20}'
    for _ in range(2):  # the first may never arrive
        [data] = await told(driver, lambda: driver.do.progress(job_id, token, progress))
        assert data == {"progress": {"percent": 20}, "stalled_since": None}
    assert (await driver.job(job_id)).stalled_since is None
    await pass_time(driver, job_id)
    assert (await driver.job(job_id)).stalled_since is not None


async def test_a_line_ends_the_silence(driver: Driver) -> None:
    job_id, token = await running(driver)
    await pass_time(driver, job_id)
    rev = (await driver.job(job_id)).rev
    [data] = await told(driver, lambda: driver.do.log(job_id, token, 1, [LINE]))
    assert data == {"progress": None, "stalled_since": None}
    assert (await driver.job(job_id)).rev == rev + 1
    # A repeat of the same line is no new sign.
    await pass_time(driver, job_id)
    assert await told(driver, lambda: driver.do.log(job_id, token, 1, [LINE])) == []


@pytest.mark.parametrize("action", ["complete", "ask", "cancel", "release", "retry"])
async def test_every_change_ends_the_silence(driver: Driver, redis: Redis, action: str) -> None:
    job_id, _ = await running(driver, max_attempts=2)
    await pass_time(driver, job_id)
    await driver.act(action, job_id)
    last = json.loads((await driver.store.history("s1", b"0-0")).entries[-1].body)
    assert last["data"]["stalled_since"] is None
    assert await driver.redis.zscore(keys.QUIET, job_id) is None
    assert await check(redis) == []


async def test_who_waits_does_not_stall(driver: Driver, redis: Redis) -> None:
    job_id, token = await running(driver)
    await driver.act("ask", job_id)
    await pass_time(driver, job_id)
    assert (await driver.job(job_id)).stalled_since is None
    await driver.act("answer", job_id)
    child = await driver.queue(parent_id=job_id, parent_token=token, delay=60)
    await pass_time(driver, job_id)
    assert (await driver.job(job_id)).stalled_since is None
    await driver.act("cancel", child)
    await pass_time(driver, job_id)
    assert (await driver.job(job_id)).stalled_since is not None
    assert await check(redis) == []


async def test_a_job_whose_worker_is_silent_is_not_stalled_but_lost(driver: Driver) -> None:
    job_id, _ = await running(driver)
    await driver.redis.zadd(keys.RUNNING, {job_id: 1})
    await driver.redis.hset(keys.TICK, "hold_until", 2**52)
    await pass_time(driver, job_id)
    assert (await driver.job(job_id)).stalled_since is None


def test_a_task_says_when() -> None:
    async def slow() -> None: ...

    assert task(stall_after=90)(slow).announce()["stall_after"] == 90
    with pytest.raises(TaskError, match="stall_after"):
        task(stall_after=0)(slow)


def test_the_agent_says_so() -> None:
    at = "2026-11-24T10:00:00.000Z"
    job = Job(
        id="j",
        session_id="s",
        task="t",
        status="running",
        rev=2,
        created_at=at,
        updated_at=at,
        stalled_since=at,
    )
    words = told_status(job, Tasks({}), "2026-11-24T10:02:00.000Z")
    assert "It has said nothing for 2 min" in words
