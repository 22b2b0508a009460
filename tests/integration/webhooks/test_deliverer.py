"""From an event to a webhook, by whole deliverers and a real endpoint."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis
from standardwebhooks import Webhook as Verifier

from hub import keys
from hub.connection import connect
from hub.scripts import Scripts
from hub.settings import Settings
from hub.store import Store
from hub.transitions import Transitions
from hub.webhooks.deliveries import Deliveries
from hub.webhooks.delivery import Deliverer, deliver
from hub.webhooks.guard import parse_networks
from hub.webhooks.history import History
from hub.webhooks.policy import TRIES
from hub.webhooks.sender import Sender
from hub.webhooks.signing import credential_secret
from hub.webhooks.store import WebhookStore
from tests.conftest import SECRET, Server
from tests.integration.webhooks.steps import (
    ENDINGS,
    HUB_SECRET,
    OK,
    delivering,
    ended_job,
    make_due,
    secret_of,
    settled,
    states,
)
from tests.receiver import answer, serving


async def test_an_event_reaches_every_webhook_that_wants_it(
    redis: Redis,
    store: Store,
    transitions: Transitions,
    hooks: WebhookStore,
    deliveries: Deliveries,
    sender: Sender,
) -> None:
    async with serving(None, OK) as here, serving(None, OK) as all_, serving(None, OK) as once:
        own = await hooks.put(url=here.url, types=ENDINGS, session_id="s1", owner="key:test")
        every = await hooks.put(url=all_.url, types=["job.running"], owner="key:test")
        async with delivering(deliveries, sender):
            job_id = await ended_job(
                store, transitions, "s1", webhook_url=once.url, credential="test"
            )
            await ended_job(store, transitions, "s2")
            await here.got(1)
            await once.got(1)
            await all_.got(2)
            await settled(redis, done=4)
    assert len(here.requests) == len(once.requests) == 1
    # Deliveries of one webhook may overtake each other.
    (running,) = [request for request in all_.requests if b'"session_id":"s1"' in request.body]
    bodies = [
        (here.requests[0], secret_of(own), "job.completed"),
        (running, secret_of(every), "job.running"),
        (once.requests[0], credential_secret(HUB_SECRET, "test"), "job.completed"),
    ]
    for request, secret, kind in bodies:
        body = Verifier(secret).verify(request.body, request.headers)
        assert list(body) == ["id", "type", "timestamp", "data"]
        assert (body["id"], body["type"]) == (request.headers["webhook-id"], kind)
        assert (body["data"]["id"], body["data"]["session_id"]) == (job_id, "s1")
        assert "webhook_url" not in body["data"]
    body = msgspec.json.decode(here.requests[0].body)
    assert body["data"]["result"] == {"passed": 47, "a": []}
    assert body["timestamp"] == body["data"]["finished_at"]
    assert body["data"]["status"] == "completed"
    assert len({*here.ids, *all_.ids, *once.ids}) == 4


async def test_two_deliverers_deliver_each_once(
    valkey: Server,
    redis: Redis,
    scripts: Scripts,
    store: Store,
    transitions: Transitions,
    hooks: WebhookStore,
    deliveries: Deliveries,
    sender: Sender,
) -> None:
    other_client = connect(valkey.url)
    other = Deliveries(other_client, scripts)
    async with serving(None, OK) as receiver:
        for _ in range(3):
            await hooks.put(url=receiver.url, types=ENDINGS, session_id="s1", owner="o")
        async with delivering(deliveries, sender) as one, delivering(other, sender) as two:
            for _ in range(20):
                await ended_job(store, transitions, "s1")
            await receiver.got(60)
            await settled(redis, done=60)
            assert one.counts["done"] + two.counts["done"] == 60
    await other_client.aclose()
    assert len(receiver.requests) == len(set(receiver.ids)) == 60


async def test_a_killed_deliverer_loses_nothing(
    redis: Redis,
    store: Store,
    transitions: Transitions,
    hooks: WebhookStore,
    deliveries: Deliveries,
    sender: Sender,
) -> None:
    answering = False

    async def reply(writer: asyncio.StreamWriter) -> None:
        if not answering:
            await asyncio.Event().wait()
        await OK(writer)

    async with serving(None, reply) as receiver:
        webhook = await hooks.put(url=receiver.url, types=ENDINGS, session_id="s1", owner="o")
        async with delivering(deliveries, sender, lease=0.3):
            await ended_job(store, transitions, "s1")
            await receiver.got(1)
        assert await states(redis) == {"flight": 1}
        answering = True
        async with delivering(deliveries, sender):
            await receiver.got(2)
            await settled(redis, done=1)
    first, second = receiver.requests
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body
    assert Verifier(secret_of(webhook)).verify(second.body, second.headers)


async def test_a_stopped_deliverer_finishes_what_is_in_flight(
    redis: Redis,
    store: Store,
    transitions: Transitions,
    hooks: WebhookStore,
    deliveries: Deliveries,
    sender: Sender,
) -> None:
    release = asyncio.Event()

    async def reply(writer: asyncio.StreamWriter) -> None:
        await release.wait()
        await OK(writer)

    deliverer = Deliverer(deliveries, sender, HUB_SECRET)
    running = asyncio.create_task(deliverer.run())
    async with serving(None, reply) as receiver:
        await hooks.put(url=receiver.url, types=ENDINGS, session_id="s1", owner="o")
        await ended_job(store, transitions, "s1")
        await receiver.got(1)
        deliverer.stop()
        await ended_job(store, transitions, "s1")
        release.set()
        async with asyncio.timeout(60):
            await running
    assert deliverer.in_flight == 0
    assert len(receiver.requests) == 1
    assert (await states(redis))["done"] == 1


async def test_a_hub_delivers_until_it_drains(
    redis: Redis,
    scripts: Scripts,
    settings: Settings,
    store: Store,
    transitions: Transitions,
    hooks: WebhookStore,
) -> None:
    allowing = replace(settings, webhook_allow_http=True, webhook_allow_nets="127.0.0.1")
    draining = asyncio.Event()
    async with serving(None, OK) as receiver, asyncio.timeout(60):
        await hooks.put(url=receiver.url, types=ENDINGS, session_id="s1", owner="o")
        running = asyncio.create_task(deliver(redis, scripts, allowing, draining))
        await ended_job(store, transitions, "s1")
        await receiver.got(1)
        draining.set()
        await running
    assert await states(redis) == {"done": 1}
    assert receiver.requests[0].headers["user-agent"].startswith("Jobcast/")


async def test_a_failing_endpoint_is_tried_with_the_same_id_and_then_dead(
    redis: Redis,
    store: Store,
    transitions: Transitions,
    hooks: WebhookStore,
    deliveries: Deliveries,
    sender: Sender,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving(None, answer("503 Later")) as receiver:
        await hooks.put(url=receiver.url, types=ENDINGS, session_id="s1", owner="o")
        async with delivering(deliveries, sender):
            await ended_job(store, transitions, "s1")
            for tries in range(1, TRIES):
                await receiver.got(tries)
                await settled(redis, due=1)
                await make_due(redis)
            with caplog.at_level(logging.WARNING):
                await receiver.got(TRIES)
                await settled(redis, dead=1)
    assert len(set(receiver.ids)) == 1
    assert len(receiver.requests) == TRIES
    assert "is dead: HTTP status 503" in caplog.text
    client: Any = redis
    kept = await client.hgetall(keys.delivery(receiver.ids[0]))
    assert kept[b"tries"] == b"8"
    assert [msgspec.json.decode(kept[b"try:%d" % n])["status"] for n in range(1, 9)] == [503] * 8
    assert kept[b"d"]
    assert await client.pttl(keys.delivery(receiver.ids[0])) > 6 * 86_400_000


async def test_the_next_try_waits_as_the_schedule_and_retry_after_say(
    redis: Redis,
    scripts: Scripts,
    store: Store,
    transitions: Transitions,
    hooks: WebhookStore,
    deliveries: Deliveries,
    sender: Sender,
) -> None:
    replies = [answer("503 Later"), answer("429 Slow", "Retry-After: 120"), OK]

    async def reply(writer: asyncio.StreamWriter) -> None:
        await replies.pop(0)(writer)

    client: Any = redis

    async def wait_of(delivery_id: str) -> int:
        found = await History(redis, scripts).get(delivery_id)
        assert found is not None
        assert found.last_try is not None
        assert found.next_try_at is not None
        spent = datetime.fromisoformat(found.next_try_at) - datetime.fromisoformat(
            found.last_try.at
        )
        return round(spent / timedelta(milliseconds=1))

    async with serving(None, reply) as receiver:
        webhook = await hooks.put(url=receiver.url, types=ENDINGS, session_id="s1", owner="o")
        async with delivering(deliveries, sender):
            await ended_job(store, transitions, "s1")
            await receiver.got(1)
            await settled(redis, due=1)
            assert 4_000 <= await wait_of(receiver.ids[0]) <= 6_000
            await make_due(redis)
            await receiver.got(2)
            await settled(redis, due=1)
            assert await wait_of(receiver.ids[0]) == 120_000
            failing = await hooks.get(webhook.id)
            assert failing is not None
            assert failing.failing_since is not None
            await make_due(redis)
            await receiver.got(3)
            await settled(redis, done=1)
    well = await hooks.get(webhook.id)
    assert well is not None
    assert (well.failing_since, well.disabled) == (None, None)
    assert not await client.hexists(keys.delivery(receiver.ids[0]), "due_at")


async def test_gone_disables_and_is_told(
    redis: Redis,
    store: Store,
    transitions: Transitions,
    hooks: WebhookStore,
    deliveries: Deliveries,
    sender: Sender,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving(None, answer("410 Gone")) as receiver:
        webhook = await hooks.put(url=receiver.url, types=ENDINGS, session_id="s1", owner="o")
        for _ in range(6):
            await ended_job(store, transitions, "s1")
        while (await deliveries.expand(16)).entries:
            pass
        with caplog.at_level(logging.WARNING):
            async with delivering(deliveries, sender):
                await settled(redis, dead=6)
    assert len(receiver.requests) <= 4
    found = await hooks.get(webhook.id)
    assert found is not None
    assert found.disabled is not None
    assert "410" in found.disabled.reason
    assert f"webhook {webhook.id} is disabled" in caplog.text
    client: Any = redis
    assert not await client.hexists(keys.HOOKED, "s1")
    await ended_job(store, transitions, "s1")
    assert await client.xlen(keys.OUTBOX) == 0


@pytest.mark.parametrize("one_off", [False, True])
async def test_a_slow_endpoint_has_four_in_flight_and_holds_up_nobody(
    redis: Redis,
    store: Store,
    transitions: Transitions,
    hooks: WebhookStore,
    deliveries: Deliveries,
    sender: Sender,
    one_off: bool,
) -> None:
    release = asyncio.Event()

    async def slow(writer: asyncio.StreamWriter) -> None:
        await release.wait()
        await OK(writer)

    async with serving(None, slow) as slow_one, serving(None, OK) as quick:
        if not one_off:
            await hooks.put(url=slow_one.url, types=ENDINGS, session_id="s1", owner="o")
        await hooks.put(url=quick.url, types=ENDINGS, session_id="s2", owner="o")
        async with delivering(deliveries, sender, at_once=6) as deliverer:
            for number in range(10):
                fields = {"webhook_url": f"{slow_one.url}/{number}"} if one_off else {}
                await ended_job(store, transitions, "s1", **fields)
            await slow_one.got(4)
            for _ in range(10):
                await ended_job(store, transitions, "s2")
            await quick.got(10)
            await settled(redis, done=10, flight=4, due=6)
            assert deliverer.in_flight == len(slow_one.requests) == 4
            release.set()
            await settled(redis, done=20)
    assert len(set(slow_one.ids)) == 10


async def test_an_outage_of_redis_is_waited_out(own_valkey: Server) -> None:
    settings = Settings(redis_url=own_valkey.url, secret=SECRET)
    scripts = Scripts(settings)
    client = connect(own_valkey.url)
    store, transitions = Store(client, scripts), Transitions(client, scripts)
    async with (
        serving(None, OK) as receiver,
        Sender(allow_http=True, allow_nets=parse_networks("127.0.0.0/8")) as sender,
        delivering(Deliveries(client, scripts), sender) as deliverer,
    ):
        await WebhookStore(client, scripts).put(
            url=receiver.url, types=ENDINGS, session_id="s1", owner="o"
        )
        await ended_job(store, transitions, "s1")
        await receiver.got(1)
        await settled(client, done=1)
        own_valkey.stop()
        own_valkey.start()
        await ended_job(store, transitions, "s1")
        await receiver.got(2)
        await settled(client, done=2)
        assert deliverer.counts["done"] == 2
    await client.aclose()
    assert len(set(receiver.ids)) == 2
