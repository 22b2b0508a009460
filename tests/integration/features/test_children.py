"""Jobs that queue jobs: `ctx.enqueue`, `ctx.gather`, and the end of a whole tree."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from hub import keys
from hub.errors import ParentCancelled, StaleToken
from hub.invariant import check
from hub.jobs import NewJob
from hub.scripts import Scripts
from hub.states import TERMINAL
from tests.conftest import wait_until
from tests.integration.features.feature_tasks import runs
from tests.integration.store.conftest import Driver
from tests.integration.worker.shop import Shop, result


@pytest.fixture
def driver(redis: Redis, scripts: Scripts) -> Driver:
    return Driver(redis, scripts)


async def test_children_are_jobs_of_the_session(shop: Shop) -> None:
    job = await shop.run("family")

    told = result(job)
    assert told["results"] == [2, 20]
    first = await shop.job(told["first"])
    assert (first.parent_id, first.session_id) == (job.id, "s1")
    assert (first.title, first.priority) == ("First", 2)
    other = await shop.until(told["other"], *TERMINAL)
    assert result(other) == 10


async def test_children_of_a_process(shop: Shop) -> None:
    assert result(await shop.run("isolated_family")) == [4]


async def test_another_try_queues_nothing_anew(shop: Shop) -> None:
    job = await shop.run("queues_again", max_attempts=3)

    assert runs[job.id] == [result(job)] * 3
    assert len((await shop.store.jobs(session_id="s1")).jobs) == 2


async def test_what_cannot_be_queued_is_said(shop: Shop) -> None:
    job = await shop.run("wants_what_cannot_be")

    assert job.error is not None
    assert job.error.type == "BadInput"
    assert "/params/n" in job.error.message


async def test_cancelling_a_job_cancels_its_tree(shop: Shop) -> None:
    top = await shop.queue("grandparent")

    async def grown() -> bool:
        jobs = (await shop.store.jobs(session_id="s1")).jobs
        return sum(job.task == "forever" for job in jobs) == 3

    await wait_until(grown, "the tree has grown")
    await shop.transitions.cancel(top)

    for job in (await shop.store.jobs(session_id="s1")).jobs:
        assert (await shop.until(job.id, *TERMINAL)).status == "cancelled", job.task


async def test_a_job_of_another_session_is_gone(shop: Shop) -> None:
    other = await shop.store.enqueue(
        NewJob(session_id="s2", task="double", params=b'{"n":1}', delay=60)
    )
    assert "gone" in result(await shop.run("peeks", {"job_id": other.job.id}))
    assert (await shop.job(other.job.id)).status == "pending"


async def test_only_the_holder_of_a_claim_queues_children(driver: Driver, redis: Redis) -> None:
    parent = await driver.queue()
    [claim] = await driver.claim()
    child = NewJob(
        session_id="s1", task="work", parent_id=parent, parent_token=claim.token, delay=60
    )
    made = await driver.store.enqueue(child)
    await driver.do.release(parent, claim.token)

    with pytest.raises(StaleToken):
        await driver.store.enqueue(child)
    again = await driver.store.enqueue(child, made.job.id)
    assert not again.created

    [claim] = await driver.claim()
    await driver.do.cancel(parent)
    child.parent_token = claim.token
    with pytest.raises(ParentCancelled):
        await driver.store.enqueue(child)
    assert await driver.state(made.job.id) == "cancelled"
    assert await check(redis) == []


async def test_children_of_an_ended_job_live_on(driver: Driver, redis: Redis) -> None:
    parent = await driver.queue()
    [claim] = await driver.claim()
    child = await driver.queue(parent_id=parent, parent_token=claim.token)
    await driver.do.finish(parent, claim.token, "failed", b'{"code":"error","message":"x"}')

    assert await driver.state(child) == "pending"
    assert await check(redis) == []


async def test_a_tree_too_large_for_one_script_ends_with_the_ticks(
    driver: Driver, redis: Redis
) -> None:
    parent = await driver.queue()
    [claim] = await driver.claim()
    child = NewJob(session_id="s1", task="work", parent_id=parent, parent_token=claim.token)
    await driver.store.enqueue_many([child] * 550)

    async def cancelled() -> int:
        ids = await driver.redis.zrange(keys.session_jobs("s1"), 0, -1)
        jobs = await driver.store.jobs_by_id([each.decode() for each in ids])
        return sum(job.status == "cancelled" for job in jobs)

    await driver.do.cancel(parent)
    assert await cancelled() == 500
    assert await driver.redis.zrange(keys.PRUNING, 0, -1) == [parent.encode()]

    await driver.ticker.once()
    assert await driver.redis.exists(keys.PRUNING, keys.children(parent)) == 0
    assert await cancelled() == 550
    assert await check(redis) == []
