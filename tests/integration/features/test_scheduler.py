"""Schedules in Redis: one firing, one job."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from hub import keys
from hub.enqueue import Enqueuer
from hub.errors import Busy
from hub.invariant import check
from hub.schedule import Schedule
from hub.scheduler import Scheduler
from hub.scripts import Scripts
from hub.settings import Settings
from hub.store import Store
from hub.tick import Ticker
from hub.transitions import Transitions, heartbeat_args
from tests.conftest import wait_until
from tests.integration.worker.shop import new_runner, working
from tests.running_hub import Hub
from worker import task
from worker.processes import Processes
from worker.tasks import Registry

HOURLY = Schedule(name="hourly", task="report", cron="0 * * * *", params={"kind": "short"})
HOUR = 3_600_000


@task
async def report(kind: str = "long") -> str:
    return kind


class Clockwork:
    """A worker that is alive, and several that may fire."""

    def __init__(self, redis: Redis, scripts: Scripts, store: Store, settings: Settings) -> None:
        self.redis: Any = redis
        self.scripts = scripts
        self.store = store
        self.schedulers = [
            Scheduler(redis, scripts, Enqueuer(store, settings), lease=15, keep=7 * 86_400)
            for _ in range(3)
        ]
        self.first = self.schedulers[0]

    async def live(self, tasks: str = ",report,") -> None:
        await self.scripts.run(
            self.redis, "heartbeat", *heartbeat_args("w1", 15, [], b"{}", tasks, ",default,")
        )

    async def due_since(self, hours: int, name: str = "hourly") -> int:
        """As if the next firing had come so many hours ago and nobody had been there."""
        seconds, _ = await self.redis.time()
        at = int(seconds) // 3600 * HOUR - hours * HOUR
        await self.redis.zadd(keys.SCHEDULES, {name: at})
        return at + hours * HOUR

    async def jobs(self) -> list[Any]:
        return (await self.store.jobs()).jobs


@pytest.fixture
async def clockwork(
    redis: Redis, scripts: Scripts, store: Store, settings: Settings, transitions: Transitions
) -> AsyncIterator[Clockwork]:
    clockwork = Clockwork(redis, scripts, store, settings)
    await transitions.announce({"report": report.announce()})
    await clockwork.first.announce([HOURLY], ["report"])
    await clockwork.live()
    yield clockwork
    assert await check(redis) == []


async def test_a_firing_is_one_job_however_many_fire(clockwork: Clockwork) -> None:
    firing = await clockwork.due_since(0)
    await asyncio.gather(*(each.fire() for each in clockwork.schedulers))
    # As after a crash between the job and the note that it was queued.
    await clockwork.due_since(0)
    assert await clockwork.first.fire() == 0

    [job] = await clockwork.jobs()
    assert (job.task, job.session_id) == ("report", "schedule:hourly")
    assert job.id == HOURLY.job_id(firing)
    assert msgspec.json.decode(job.params) == {"kind": "short"}
    assert msgspec.json.decode(job.metadata)["schedule"] == "hourly"
    assert await clockwork.redis.zscore(keys.SCHEDULES, "hourly") == firing + HOUR


async def test_what_was_missed_is_one_job(clockwork: Clockwork) -> None:
    firing = await clockwork.due_since(30)
    assert await clockwork.first.fire() == 1
    assert await clockwork.first.fire() == 0
    assert [job.id for job in await clockwork.jobs()] == [HOURLY.job_id(firing)]


async def test_nothing_fires_while_no_worker_has_its_task(clockwork: Clockwork) -> None:
    await clockwork.live(",other,")
    firing = await clockwork.due_since(2)
    assert await clockwork.first.fire() == 0
    await clockwork.live()
    assert await clockwork.first.fire() == 1
    assert [job.id for job in await clockwork.jobs()] == [HOURLY.job_id(firing)]


async def test_what_nobody_serves_is_forgotten_in_the_end(clockwork: Clockwork) -> None:
    await clockwork.live(",other,")
    await clockwork.due_since(7 * 24 + 1)
    assert await clockwork.first.fire() == 0
    assert await clockwork.redis.exists(keys.SCHEDULES, keys.SCHEDULE_SPECS) == 0


async def test_a_worker_replaces_the_schedules_of_its_tasks(clockwork: Clockwork) -> None:
    other = Schedule(name="other", task="other", cron="0 0 * * *")
    daily = Schedule(name="daily", task="report", cron="0 0 * * *")
    await clockwork.first.announce([other], ["other"])
    await clockwork.first.announce([HOURLY, daily], ["report"])
    assert {line.schedule.name for line in (await clockwork.first.listed()).schedules} == {
        *("hourly", "daily", "other")
    }
    due = await clockwork.due_since(1)
    await clockwork.first.announce([HOURLY], ["report"])  # the same: still due
    names = {line.schedule.name for line in (await clockwork.first.listed()).schedules}
    assert names == {"hourly", "other"}
    assert await clockwork.redis.zscore(keys.SCHEDULES, "hourly") == due - HOUR
    changed = msgspec.structs.replace(HOURLY, cron="30 * * * *")
    await clockwork.first.announce([changed], ["report"])
    assert await clockwork.redis.zscore(keys.SCHEDULES, "hourly") > due


async def test_firings_that_must_not_overlap(clockwork: Clockwork) -> None:
    alone = msgspec.structs.replace(HOURLY, overlap=False, cron="* * * * * *")
    await clockwork.first.announce([alone], ["report"])
    await clockwork.due_since(0)
    assert await clockwork.first.fire() == 1
    await clockwork.due_since(0)
    assert await clockwork.first.fire() == 0
    assert len(await clockwork.jobs()) == 1


async def test_params_that_no_longer_fit_are_said_and_passed_over(
    clockwork: Clockwork, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = msgspec.structs.replace(HOURLY, params={"kind": 1})
    await clockwork.first.announce([wrong], ["report"])
    firing = await clockwork.due_since(0)
    assert await clockwork.first.fire() == 0
    assert "/params/kind" in caplog.text
    assert await clockwork.redis.zscore(keys.SCHEDULES, "hourly") == firing + HOUR


async def test_what_cannot_be_queued_now_stays_due(clockwork: Clockwork) -> None:
    await clockwork.due_since(0)
    await clockwork.redis.config_set("maxmemory", "1mb")
    try:
        with pytest.raises(Busy):
            await clockwork.first.fire()
    finally:
        await clockwork.redis.config_set("maxmemory", "0")
    assert (await Ticker(clockwork.redis, clockwork.scripts).once()).schedules == 1
    assert await clockwork.first.fire() == 1


async def test_a_worker_fires_what_it_declares(
    store: Store, settings: Settings, processes: Processes, redis: Redis
) -> None:
    registry = Registry()
    registry.add(report)
    registry.add_schedule(msgspec.structs.replace(HOURLY, cron="* * * * * *"))
    runner = new_runner(settings, processes, registry)

    async def ran() -> bool:
        jobs = (await store.jobs(status=frozenset({"completed"}))).jobs
        return len(jobs) >= 2

    async with working(runner):
        await wait_until(ran, "two firings have run")
    times = [msgspec.json.decode(job.metadata)["due_at"] for job in (await store.jobs()).jobs]
    assert len(times) == len(set(times))
    assert await check(redis) == []


async def test_operators_see_the_schedules(hub: Hub, clockwork: Clockwork) -> None:
    reply = await hub.client.get("/schedules")
    [line] = reply.json()["schedules"]
    assert line["schedule"]["cron"] == "0 * * * *"
    assert line["next_at"].endswith(":00:00.000Z")
    headers = {"Authorization": f"Bearer {hub.token('s1')}"}
    assert (await hub.client.get("/schedules", headers=headers)).status_code == 403
