"""A worker among others: children of jobs, unknown tasks, draining and its place in the list."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from hub import keys
from hub.invariant import check
from hub.jobs import Job
from hub.scripts import Scripts
from hub.settings import Settings
from hub.states import TERMINAL
from hub.store import Store
from hub.transitions import Transitions
from tests.conftest import wait_until
from tests.integration.worker.shop import Shop, new_runner, result, working
from worker.processes import Processes
from worker.tasks import Registry


async def test_gathering_children(shop: Shop) -> None:
    job = await shop.run("both")

    assert result(job) == [{"total": 2}, {"total": 4}]
    children = [
        each for each in (await shop.store.jobs(session_id="s1")).jobs if each.parent_id == job.id
    ]
    assert [child.task for child in children] == ["add", "add"]
    assert result(await shop.run("both_isolated")) == [{"total": 2}]
    assert result(await shop.run("one_fails")) == "refused failed permanent not approved"


async def test_gathering_again_does_what_failed_again(shop: Shop) -> None:
    job = await shop.run("gathers_again")

    assert job.attempt == 2
    counted, lucky = result(job)
    assert lucky == 2
    children = [
        each for each in (await shop.store.jobs(session_id="s1")).jobs if each.parent_id == job.id
    ]
    assert [child.id for child in children if child.task == "counted"] == [counted]
    assert sorted(child.status for child in children) == ["completed", "completed", "failed"]


async def test_cancelling_a_parent_cancels_its_children(shop: Shop) -> None:
    parent = await shop.queue("waits_for_forever")

    async def running() -> Job | None:
        jobs = (await shop.store.jobs(session_id="s1")).jobs
        return next((job for job in jobs if job.parent_id and job.status == "running"), None)

    await wait_until(lambda: _is_there(running()), "the child runs")
    child = await running()
    assert child is not None

    await shop.transitions.cancel(parent)

    assert (await shop.until(parent, *TERMINAL)).status == "cancelled"
    assert (await shop.until(child.id, *TERMINAL)).status == "cancelled"


async def _is_there(found: Awaitable[Job | None]) -> bool:
    return await found is not None


async def test_gathering_frees_the_slot(
    store: Store,
    transitions: Transitions,
    settings: Settings,
    processes: Processes,
    redis: Redis,
) -> None:
    runner = new_runner(settings, processes, concurrency=1)
    async with working(runner):
        assert result(await Shop(store, transitions, runner).run("both")) == [
            {"total": 2},
            {"total": 4},
        ]
    assert await check(redis) == []


async def test_an_unknown_task_is_parked_until_a_worker_has_it(
    shop: Shop, settings: Settings, processes: Processes
) -> None:
    job_id = await shop.queue("later")

    async def parked() -> bool:
        return await shop.store.redis.zscore(keys.parked("task:later"), job_id) is not None

    await wait_until(parked, "the job is parked")
    registry = Registry()

    async def later() -> int:
        return 1

    from worker.tasks import task

    registry.add(task(later))
    async with working(new_runner(settings, processes, registry)):
        assert result(await shop.until(job_id, *TERMINAL)) == 1


async def test_a_worker_is_listed_and_says_goodbye(shop: Shop, redis: Any) -> None:
    async def listed() -> bool:
        return await redis.zscore(keys.WORKERS, shop.runner.worker_id) is not None

    await wait_until(listed, "the worker is listed")
    facts = json.loads(await redis.hget(keys.worker(shop.runner.worker_id), "facts"))
    assert facts["name"] == "tester"
    assert facts["pid"] == os.getpid()
    tasks = await shop.store.tasks()
    assert tasks["add"]["params"]["required"] == ["a"]
    shop.runner.drain()

    async def gone() -> bool:
        return not await listed()

    await wait_until(gone, "the worker said goodbye")


async def test_draining_gives_back_what_does_not_finish(shop: Shop) -> None:
    job_id = await shop.queue("forever")
    await shop.until(job_id, "running")

    shop.runner.drain()

    job = await shop.until(job_id, "pending")
    assert (job.released, job.lost, job.attempt) == (1, 0, 1)


async def test_scripts_are_loaded_again_after_a_flush(
    shop: Shop, redis: Any, scripts: Scripts
) -> None:
    await redis.script_flush()
    assert result(await shop.run("add", {"a": 1})) == {"total": 2}


async def test_one_that_is_told_to_stop_before_it_could_begin_ends(
    settings: Settings, processes: Processes, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asyncio.Event()

    async def away(*_: object) -> int:
        asked.set()
        raise RedisConnectionError("Redis went away")

    monkeypatch.setattr(Transitions, "announce", away)
    runner = new_runner(settings, processes)
    async with asyncio.timeout(60):
        running = asyncio.create_task(runner.run())
        await asked.wait()
        runner.drain()
        assert await running == 0
    assert await check(redis) == []
