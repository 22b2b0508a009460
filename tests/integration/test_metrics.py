"""`/metrics` of a real hub: who may read it, and that it counts what happened."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator

import pytest
from prometheus_client.parser import text_string_to_metric_families
from redis.asyncio import Redis

from hub.app import create_app
from hub.errors import SettingsError
from hub.jobs import NewJob
from hub.metrics.catalogue import METRICS
from hub.settings import Settings
from tests.conftest import API_KEY, SECRET, Server, wait_until
from tests.running_hub import Hub, running
from tests.wire import Hands, stuck, wire
from worker import Fail, task
from worker.meter import Meter
from worker.processes import Processes
from worker.runner import Options, Runner
from worker.tasks import Registry

TOKEN = "only-for-metrics-0123456789"


@pytest.fixture
async def hub(settings: Settings) -> AsyncIterator[Hub]:
    more = dataclasses.replace(settings, metrics_token=TOKEN, ws_heartbeat=1)
    async with running(more, API_KEY) as hub:
        yield hub


class Read:
    """One scrape."""

    def __init__(self, body: str) -> None:
        self._families = list(text_string_to_metric_families(body))
        self.names = {
            family.name + ("_total" if family.type == "counter" else "")
            for family in self._families
        }

    def __call__(self, name: str, **labels: str) -> float:
        return sum(
            one.value
            for family in self._families
            for one in family.samples
            if one.name == name and labels.items() <= one.labels.items()
        )


async def read(hub: Hub) -> Read:
    answer = await hub.client.get("/metrics")
    assert answer.status_code == 200
    return Read(answer.text)


async def until(hub: Hub, what: str, expected: float, **labels: str) -> None:
    async def as_expected() -> bool:
        return (await read(hub))(what, **labels) == expected

    await wait_until(as_expected, f"{what} {labels} is {expected}")


async def test_who_may_read_them(hub: Hub) -> None:
    async with hub.as_(None) as nobody, hub.as_("wrong-" + TOKEN) as wrong:
        assert (await nobody.get("/metrics")).status_code == 401
        assert (await wrong.get("/metrics")).status_code == 401
    async with hub.as_(hub.token()) as person, hub.as_(hub.token(scope="read admin")) as admin:
        assert (await person.get("/metrics")).status_code == 403
        assert (await admin.get("/metrics")).status_code == 200
    async with hub.as_(TOKEN) as scraper:
        found = await scraper.get("/metrics")
        assert found.status_code == 200
        assert found.headers["content-type"].startswith("text/plain; version=")
        assert found.headers["cache-control"] == "no-store"
        # It opens nothing else, and no address takes it.
        assert (await scraper.get("/queues")).status_code == 401
        assert (await scraper.get("/jobs?session_id=s1")).status_code == 401
    async with hub.as_(None) as nobody:
        assert (await nobody.get(f"/metrics?token={TOKEN}")).status_code == 401
    answer = await hub.client.get("/metrics", headers={"Accept": "application/openmetrics-text"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")


async def test_it_shows_every_metric_that_is_documented(hub: Hub, redis: Redis) -> None:
    meter = Meter(redis)
    meter.timings.claimed("t", 0.1)
    meter.timings.ended("t", "completed", 1.5)
    await meter.write()
    async with hub.as_("bad") as bad:
        await bad.get("/jobs")
    found = await read(hub)
    assert found.names == {metric.name for metric in METRICS}
    assert found("jobcast_hub_auth_failures_total", reason="bad") == 1
    assert found("jobcast_job_run_seconds_sum", task="t") == 1.5
    assert found("jobcast_job_runs_total", task="t", status="completed") == 1


async def test_streams_and_events_are_counted(hub: Hub) -> None:
    hands = Hands(hub.services)
    async with wire(hub, "/ws/s1") as one, wire(hub, "/ws/s1") as two:
        cursor = (await one.until("hello"))["cursor"]
        await two.until("hello")
        job_id = await hands.start()
        await hands.progress(job_id, 10)
        await hands.log(job_id, 1, "x")
        await hands.finish(job_id)
        for client in (one, two):
            await client.until("job.completed")
        # Not live yet where what follows the hello is still being handed over.
        await until(hub, "jobcast_hub_subscribers", 2, kind="websocket", state="live")
        found = await read(hub)
        assert found("jobcast_hub_connections", kind="websocket") == 2
        assert found("jobcast_hub_sessions") == 1
        for name, number in (("lifecycle", 3), ("progress", 1), ("log", 1)):
            labels = {"class": name}
            assert found("jobcast_hub_events_received_total", **labels) == number
            assert found("jobcast_hub_deliveries_total", **labels) == 2 * number
        assert found("jobcast_hub_pubsub_lag_seconds_count") >= 1
        assert found("jobcast_hub_probe_seconds_count") >= 1
        assert found("jobcast_hub_ready") == 1
    async with wire(hub, f"/ws/s1?after={cursor}") as client:
        await client.until("job.completed")
    async with wire(hub, "/ws/s1?after=7-7") as client:
        assert not (await client.until("hello"))["resumed"]
    async with wire(hub, "/ws/s1", token="bad") as client:
        assert await client.closed() == 4401
    await until(hub, "jobcast_hub_connections", 0)
    found = await read(hub)
    outcomes = {
        word: found("jobcast_hub_resumes_total", outcome=word)
        for word in ("fresh", "replayed", "snapshot")
    }
    assert outcomes == {"fresh": 2, "replayed": 1, "snapshot": 1}
    assert found("jobcast_hub_handshakes_total", kind="websocket") == 5
    assert found("jobcast_hub_handshake_failures_total", code="4401") == 1
    assert found("jobcast_hub_closed_streams_total", code="4401") == 1
    async with hub.as_(None, Origin="https://evil.example") as foreign:
        assert (await foreign.get("/healthz")).status_code == 403
    assert (await read(hub))("jobcast_hub_refused_origins_total") == 1


async def test_event_streams_have_a_kind_of_their_own(hub: Hub) -> None:
    async with hub.client.stream("GET", "/sessions/s1/events") as events:
        async for line in events.aiter_lines():
            if '"hello"' in line:
                break
        assert (await read(hub))("jobcast_hub_connections", kind="sse") == 1
    async with hub.as_("bad") as bad, bad.stream("GET", "/sessions/s1/events") as events:
        assert events.status_code == 200
        assert '"code":4401' in (await events.aread()).decode()
    found = await read(hub)
    assert found("jobcast_hub_handshake_failures_total", kind="sse", code="4401") == 1


async def test_what_slow_subscribers_miss_is_counted(hub: Hub) -> None:
    hands = Hands(hub.services)
    job_id = await hands.start()
    async with wire(hub, "/ws/s1", max_queue=1, close_timeout=0.1) as client:
        await client.until("hello")
        await stuck(hub, hands)
        await until(hub, "jobcast_hub_subscribers", 1, state="lagging")
        found = await read(hub)
        assert found("jobcast_hub_lags_total") >= 1
        assert found("jobcast_hub_unsent_bytes") > 0
        before = found("jobcast_hub_coalesced_total"), found("jobcast_hub_skipped_total")
        for number in range(3):
            await hands.progress(job_id, number)
            await hands.log(job_id, number + 1, "x")
        await until(hub, "jobcast_hub_coalesced_total", before[0] + 3)
        await until(hub, "jobcast_hub_skipped_total", before[1] + 3)


async def test_queues(hub: Hub, redis: Redis) -> None:
    hands = Hands(hub.services)
    await hands.start()
    for number in range(3):
        await hands.queue(f"s{number}")
    await hands.queue(queue="ops")
    await hands.queue(delay=60)
    await hub.services.transitions.pause("ops", True)
    job_id = (await hub.services.store.enqueue(NewJob(session_id="s1", task="unknown"))).job.id
    found = await read(hub)
    assert found("jobcast_queue_depth", queue="default") == 4
    assert found("jobcast_queue_depth", queue="ops") == 1
    assert found("jobcast_queue_paused", queue="ops") == 1
    assert found("jobcast_queue_paused", queue="default") == 0
    assert found("jobcast_jobs_running") == 1
    assert found("jobcast_jobs_delayed") == 1
    await redis.hincrby(f"jc:{{p0}}:job:{job_id}", "updated_at", -90_000)
    found = await read(hub)
    assert 90 <= found("jobcast_queue_oldest_pending_age_seconds", queue="default") < 1_000
    assert found("jobcast_queue_oldest_pending_age_seconds", queue="ops") < 60


async def test_without_redis_the_hub_still_tells_its_own(own_valkey: Server) -> None:
    settings = Settings(redis_url=own_valkey.url, secret=SECRET, api_keys=f"test:{API_KEY}", port=0)
    async with running(settings, API_KEY) as hub:
        assert (await read(hub))("jobcast_workers") == 0
        own_valkey.kill()
        found = await read(hub)
        assert "jobcast_hub_connections" in found.names
        assert found("jobcast_hub_processes") == 1
        assert found("jobcast_queue_depth") == 0


@task
async def swift(fails: bool = False) -> None:
    if fails:
        raise Fail("as it was asked")


async def test_workers_tell_how_long_jobs_take(hub: Hub, settings: Settings) -> None:
    registry = Registry()
    registry.add(swift)
    async with Processes.local() as processes:
        runner = Runner(registry, settings, processes, Options(grace=0, name="tester"))
        working = asyncio.create_task(runner.run())
        await until(hub, "jobcast_workers", 1)
        for fails in (False, False, True):
            body = {"task": "swift", "session_id": "s1", "params": {"fails": fails}}
            assert (await hub.client.post("/jobs", json=body)).status_code == 202
        await until(hub, "jobcast_job_pickup_seconds_count", 3, task="swift")
        await until(hub, "jobcast_job_run_seconds_count", 3, task="swift")
        await until(hub, "jobcast_job_runs_total", 2, task="swift", status="completed")
        await until(hub, "jobcast_job_runs_total", 1, task="swift", status="failed")
        runner.drain()
        assert await working == 0
    # They outlive the worker.
    found = await read(hub)
    assert found("jobcast_workers") == 0
    assert found("jobcast_job_runs_total", task="swift") == 3


def test_a_short_token_for_metrics_is_refused(settings: Settings) -> None:
    short = dataclasses.replace(settings, metrics_token="short")
    with pytest.raises(SettingsError, match="JOBCAST_METRICS_TOKEN has 5 characters"):
        create_app(short)
