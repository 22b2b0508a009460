"""From an event to a webhook: expanded, delivered, tried again, dead; by real hubs' parts."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis
from standardwebhooks import Webhook as Verifier

from hub import keys
from hub.connection import connect
from hub.jobs import NewJob
from hub.scripts import Scripts
from hub.settings import Settings
from hub.store import Store
from hub.transitions import Transitions
from hub.webhooks.deliveries import Deliveries
from hub.webhooks.delivery import Deliverer, deliver
from hub.webhooks.guard import parse_networks
from hub.webhooks.policy import TRIES, Verdict
from hub.webhooks.sender import Outcome, Sender
from hub.webhooks.signing import credential_secret, derive_secret
from hub.webhooks.store import Webhook, WebhookStore
from tests.conftest import SECRET, Server, wait_until
from tests.receiver import answer, serving

HUB_SECRET = SECRET.encode()
OK = answer("200 OK")
ENDINGS = ["job.completed", "job.failed", "job.cancelled"]


@pytest.fixture
def hooks(redis: Redis, scripts: Scripts) -> WebhookStore:
    return WebhookStore(redis, scripts)


@pytest.fixture
def deliveries(redis: Redis, scripts: Scripts) -> Deliveries:
    return Deliveries(redis, scripts)


@pytest.fixture
async def sender() -> AsyncIterator[Sender]:
    async with Sender(allow_http=True, allow_nets=parse_networks("127.0.0.0/8")) as sending:
        yield sending


@asynccontextmanager
async def delivering(
    deliveries: Deliveries, sender: Sender, **options: Any
) -> AsyncIterator[Deliverer]:
    deliverer = Deliverer(
        deliveries, sender, HUB_SECRET, **{"look_again": 0.05, "lease": 20.0, **options}
    )
    task = asyncio.create_task(deliverer.run())
    try:
        yield deliverer
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def ended_job(store: Store, transitions: Transitions, session: str, **fields: Any) -> str:
    """A job that a worker completed."""
    new = NewJob(session_id=session, task="t", **fields)
    job_id = (await store.enqueue(new)).job.id
    (claim,) = await transitions.claim(
        "w1", job_id, queues=["default"], tasks=["t"], lease=15, limit=1
    )
    await transitions.finish(claim.job_id, claim.token, "completed", b'{"passed":47,"a":[]}')
    return job_id


async def make_due(redis: Redis) -> None:
    """Lets the time of every waiting delivery come."""
    client: Any = redis
    for key in [key async for key in client.scan_iter(match=keys.deliveries("due", "*"))]:
        for member in await client.zrange(key, 0, -1):
            await client.zadd(key, {member: 1}, xx=True)
        await client.zadd(keys.WEBHOOK_NEXT, {key.split(b":")[-1]: 1}, xx=True)


# One script, since deliverers write meanwhile.
PLACES = """
local out = {}
for i, state in ipairs({'due', 'flight', 'done', 'dead'}) do
  for _, key in ipairs(redis.call('KEYS', KEYS[1] .. 'webhook_' .. state .. ':*')) do
    for _, id in ipairs(redis.call('ZRANGE', key, 0, -1)) do
      out[#out + 1] = state .. ' ' .. id
    end
  end
end
return {out, redis.call('KEYS', KEYS[1] .. 'delivery:*')}
"""


async def states(redis: Redis) -> Counter[str]:
    """How many deliveries are due, in flight, done and dead; each must be in one place."""
    client: Any = redis
    places, hashes = await client.eval(PLACES, 1, keys.PREFIX)
    found = [place.decode().split(" ") for place in places]
    ids = sorted(delivery_id for _, delivery_id in found)
    assert ids == sorted(key.decode().removeprefix(keys.delivery("")) for key in hashes)
    return Counter(state for state, _ in found)


async def settled(redis: Redis, **wanted: int) -> None:
    async def reached() -> bool:
        return await states(redis) == wanted

    await wait_until(reached, f"deliveries are {wanted}")


def secret_of(webhook: Webhook) -> str:
    return derive_secret(HUB_SECRET, webhook.id, webhook.generation)


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


async def test_hooked_is_the_union_of_what_is_wanted(redis: Redis, hooks: WebhookStore) -> None:
    async def hooked() -> dict[str, set[str]]:
        client: Any = redis
        found = await client.hgetall(keys.HOOKED)
        return {
            scope.decode(): set(types.decode().strip(",").split(","))
            for scope, types in found.items()
        }

    first = await hooks.put(url="https://a.example/", types=["a", "b"], session_id="s", owner="o")
    second = await hooks.put(url="https://b.example/", types=["b", "c"], session_id="s", owner="o")
    every = await hooks.put(url="https://c.example/", types=["d"], owner="o")
    assert await hooked() == {"s": {"a", "b", "c"}, "*": {"d"}}
    assert await hooks.delete(first.id)
    assert await hooked() == {"s": {"b", "c"}, "*": {"d"}}
    assert await hooks.delete(second.id)
    assert await hooks.delete(every.id)
    assert await hooked() == {}
    assert not await hooks.delete(every.id)


async def test_a_forgotten_session_leaves_no_webhook(redis: Redis, hooks: WebhookStore) -> None:
    for session in ("s1", "s1", "s2"):
        await hooks.put(url="https://a.example/", types=["a"], session_id=session, owner="o")
    assert await hooks.forget_session("s1") == 2
    assert [webhook.session_id for webhook in (await hooks.page()).webhooks] == ["s2"]
    client: Any = redis
    assert await client.hkeys(keys.HOOKED) == [b"s2"]
    assert await hooks.forget_session("s1") == 0


async def test_a_repeated_put_is_one_webhook(hooks: WebhookStore) -> None:
    once = await hooks.put(url="https://a.example/", types=["a"], owner="o", webhook_id="wh_1")
    again = await hooks.put(url="https://b.example/", types=["b"], owner="o", webhook_id="wh_1")
    assert once == again == await hooks.get("wh_1")


async def test_pages_are_newest_first_and_follow_each_other(hooks: WebhookStore) -> None:
    ids = [
        (await hooks.put(url="https://a.example/", types=["a"], session_id=f"s{n}", owner="o")).id
        for n in range(7)
    ]
    seen: list[str] = []
    cursor: str | None = None
    while True:
        page = await hooks.page(limit=3, cursor=cursor, allowed=lambda w: w.session_id != "s3")
        seen += [webhook.id for webhook in page.webhooks]
        if page.more is None:
            break
        cursor = page.more
    assert sorted(seen) == sorted(set(ids) - {ids[3]})
    assert [w.id for w in (await hooks.page(session_id="s3")).webhooks] == [ids[3]]


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


async def test_an_entry_that_comes_back_doubles_nothing(
    redis: Redis,
    store: Store,
    transitions: Transitions,
    hooks: WebhookStore,
    deliveries: Deliveries,
) -> None:
    await hooks.put(url="https://a.example/", types=ENDINGS, session_id="s1", owner="o")
    await ended_job(store, transitions, "s1")
    client: Any = redis
    ((entry_id, fields),) = await client.xrange(keys.OUTBOX)
    assert (await deliveries.expand(16)).entries == 1
    assert (await deliveries.expand(16)).entries == 0
    assert await client.xlen(keys.OUTBOX) == 0
    (delivery,) = (await deliveries.claim(8, 30)).deliveries
    await deliveries.record(delivery, Verdict("done"), Outcome(200))
    await client.delete(keys.OUTBOX)
    await client.xadd(keys.OUTBOX, fields, id=entry_id)
    assert (await deliveries.expand(16)) == (1, entry_id.decode(), 0)
    assert await states(redis) == {"done": 1}


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
        async with asyncio.timeout(20):
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
    async with serving(None, OK) as receiver, asyncio.timeout(20):
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
    assert (kept[b"tries"], kept[b"status"]) == (b"8", b"503")
    assert kept[b"d"]
    assert await client.pttl(keys.delivery(receiver.ids[0])) > 6 * 86_400_000


async def test_the_next_try_waits_as_the_schedule_and_retry_after_say(
    redis: Redis,
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
        times = await client.hmget(keys.delivery(delivery_id), "tried_at", "due_at")
        return int(times[1]) - int(times[0])

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
    assert not await client.hexists(keys.delivery(receiver.ids[0]), "d")


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


@pytest.mark.parametrize(
    ("since_days", "last_hours", "disabled"), [(5.01, 1, True), (4.9, 1, False), (9, 25, False)]
)
async def test_five_days_of_failing_disable(
    redis: Redis,
    store: Store,
    transitions: Transitions,
    hooks: WebhookStore,
    deliveries: Deliveries,
    since_days: float,
    last_hours: float,
    disabled: bool,
) -> None:
    webhook = await hooks.put(url="https://a.example/", types=ENDINGS, session_id="s1", owner="o")
    await ended_job(store, transitions, "s1")
    await deliveries.expand(16)
    (delivery,) = (await deliveries.claim(8, 30)).deliveries
    client: Any = redis
    seconds, _ = await client.time()
    await client.hset(
        keys.webhook(webhook.id),
        mapping={
            "failing_since": int((seconds - since_days * 86_400) * 1000),
            "failed_at": int((seconds - last_hours * 3_600) * 1000),
        },
    )
    recorded = await deliveries.record(delivery, Verdict("retry", 5.0), Outcome(500))
    assert recorded.state == "retry"
    assert bool(recorded.disabled) is disabled
    found = await hooks.get(webhook.id)
    assert found is not None
    assert (found.disabled is not None) is disabled
    # What waits for a disabled webhook is dead at the next claim, whenever it was due.
    assert (await deliveries.claim(8, 30)).deliveries == []
    assert await states(redis) == ({"dead": 1} if disabled else {"due": 1})


async def test_a_disabled_webhook_gets_nothing_while_others_do(
    redis: Redis,
    store: Store,
    transitions: Transitions,
    hooks: WebhookStore,
    deliveries: Deliveries,
) -> None:
    for url in ("https://a.example/", "https://b.example/"):
        await hooks.put(url=url, types=ENDINGS, session_id="s1", owner="o")
    await ended_job(store, transitions, "s1")
    await deliveries.expand(16)
    for delivery in (await deliveries.claim(8, 30)).deliveries:
        disable = "410" if delivery.url == "https://a.example/" else ""
        await deliveries.record(delivery, Verdict("dead", disable=disable), Outcome(410))
    await ended_job(store, transitions, "s1")
    await deliveries.expand(16)
    claimed = (await deliveries.claim(8, 30)).deliveries
    assert [delivery.url for delivery in claimed] == ["https://b.example/"]
    assert await states(redis) == {"dead": 2, "flight": 1}


async def test_all_that_waits_for_a_disabled_webhook_is_dead_step_by_step(
    redis: Redis, hooks: WebhookStore, deliveries: Deliveries
) -> None:
    webhook = await hooks.put(url="https://a.example/", types=ENDINGS, owner="o")
    client: Any = redis
    ids = [f"msg_{number}" for number in range(1_200)]
    pipe = client.pipeline()
    for delivery_id in ids:
        pipe.hset(keys.delivery(delivery_id), mapping={"webhook": webhook.id, "tries": 0})
    pipe.zadd(keys.deliveries("due", webhook.id), dict.fromkeys(ids, 2**52))
    pipe.zadd(keys.WEBHOOK_NEXT, {webhook.id: 1})
    pipe.hset(keys.webhook(webhook.id), mapping={"disabled_at": 1, "disabled_reason": "410"})
    await pipe.execute()
    waits = [(await deliveries.claim(8, 30)).wait for _ in range(3)]
    assert waits == [0, 0, None]
    assert await states(redis) == {"dead": 1_200}


async def test_with_four_in_flight_the_next_claim_waits_for_a_lease(
    store: Store, transitions: Transitions, hooks: WebhookStore, deliveries: Deliveries
) -> None:
    await hooks.put(url="https://a.example/", types=ENDINGS, session_id="s1", owner="o")
    for _ in range(5):
        await ended_job(store, transitions, "s1")
    await deliveries.expand(16)
    claimed, wait = await deliveries.claim(8, 30)
    assert len(claimed) == 4
    assert wait is not None
    assert 20 < wait <= 30
    await deliveries.record(claimed[0], Verdict("done"), Outcome(200))
    assert len((await deliveries.claim(8, 30)).deliveries) == 1


async def test_of_what_is_done_the_newest_thousand_are_kept(
    redis: Redis,
    store: Store,
    transitions: Transitions,
    hooks: WebhookStore,
    deliveries: Deliveries,
) -> None:
    webhook = await hooks.put(url="https://a.example/", types=ENDINGS, session_id="s1", owner="o")
    await ended_job(store, transitions, "s1")
    await deliveries.expand(16)
    (delivery,) = (await deliveries.claim(8, 30)).deliveries
    client: Any = redis
    seconds, _ = await client.time()
    done = keys.deliveries("done", webhook.id)
    await client.zadd(done, {f"msg_{n}": (seconds - 2_000 + n) * 1000 for n in range(1_000)})
    await client.hset(keys.delivery("msg_0"), "webhook", webhook.id)
    await deliveries.record(delivery, Verdict("done"), Outcome(200))
    assert await client.zcard(done) == 1_000
    assert await client.zscore(done, "msg_0") is None
    assert not await client.exists(keys.delivery("msg_0"))
    assert await client.zscore(done, delivery.id) is not None


async def test_a_claim_that_is_over_records_nothing(
    redis: Redis,
    store: Store,
    transitions: Transitions,
    hooks: WebhookStore,
    deliveries: Deliveries,
) -> None:
    await hooks.put(url="https://a.example/", types=ENDINGS, session_id="s1", owner="o")
    await ended_job(store, transitions, "s1")
    await deliveries.expand(16)
    (late,) = (await deliveries.claim(8, 0)).deliveries

    async def back() -> bool:
        claimed = (await deliveries.claim(8, 30)).deliveries
        return [delivery.claim for delivery in claimed] == [2]

    await wait_until(back, "the lease of the first claim is over")
    assert (await deliveries.record(late, Verdict("done"), Outcome(200))).state == "stale"
    assert await states(redis) == {"flight": 1}
    held = late._replace(claim=2)
    assert (await deliveries.record(held, Verdict("done"), Outcome(200))).state == "done"
    assert (await deliveries.record(held, Verdict("retry"), Outcome(500))).state == "stale"
    assert await states(redis) == {"done": 1}


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


async def test_a_deleted_webhook_gets_nothing_more(
    redis: Redis,
    store: Store,
    transitions: Transitions,
    hooks: WebhookStore,
    deliveries: Deliveries,
) -> None:
    webhook = await hooks.put(url="https://a.example/", types=ENDINGS, session_id="s1", owner="o")
    for _ in range(6):
        await ended_job(store, transitions, "s1")
    while (await deliveries.expand(4)).entries:
        pass
    first, second, third, _ = (await deliveries.claim(8, 0.05)).deliveries
    await deliveries.record(first, Verdict("done"), Outcome(200))
    await deliveries.record(third, Verdict("retry", 36_000), Outcome(503))
    await hooks.delete(webhook.id)
    client: Any = redis

    async def gone() -> bool:
        assert (await deliveries.claim(8, 30)).deliveries == []
        return int(await client.exists(keys.WEBHOOK_NEXT)) == 0

    await wait_until(gone, "nothing waits for the deleted webhook")
    assert (await deliveries.record(second, Verdict("done"), Outcome(200))).state == "stale"
    left = [key async for key in client.scan_iter(match=keys.delivery("*"))]
    assert left == [keys.delivery(first.id).encode()]
    assert await client.pttl(left[0]) > 0


async def test_too_many_that_wait_are_dead_and_said_to_be(
    redis: Redis,
    store: Store,
    transitions: Transitions,
    hooks: WebhookStore,
    deliveries: Deliveries,
) -> None:
    webhook = await hooks.put(url="https://a.example/", types=ENDINGS, session_id="s1", owner="o")
    client: Any = redis
    waiting = {f"msg_{number}": 2**52 for number in range(10_000)}
    await client.zadd(keys.deliveries("due", webhook.id), waiting)
    await ended_job(store, transitions, "s1")
    assert (await deliveries.expand(16)).overflowed == 1
    assert await client.zcard(keys.deliveries("due", webhook.id)) == 10_000
    (dead,) = await client.zrange(keys.deliveries("dead", webhook.id), 0, -1)
    assert b"too many" in await client.hget(keys.delivery(dead.decode()), "error")


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


async def test_only_the_default_types_of_a_one_off(
    redis: Redis,
    store: Store,
    transitions: Transitions,
    hooks: WebhookStore,
    deliveries: Deliveries,
) -> None:
    """A webhook that wants more of the same job does not make the one-off get more."""
    await hooks.put(url="https://a.example/", types=["job.running"], session_id="s1", owner="o")
    await ended_job(store, transitions, "s1", webhook_url='https://b.example/"é\\', credential="k")
    while (await deliveries.expand(16)).entries:
        pass
    claimed = (await deliveries.claim(8, 30)).deliveries
    kinds = {d.url: msgspec.json.decode(d.body)["type"] for d in claimed}
    assert kinds == {
        "https://a.example/": "job.running",
        'https://b.example/"é\\': "job.completed",
    }
    assert {(d.generation, d.credential) for d in claimed} == {(1, ""), (None, "k")}
