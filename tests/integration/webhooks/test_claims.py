"""Deliveries in Redis, script by script: expanded, claimed, recorded."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from hub import keys
from hub.store import Store
from hub.transitions import Transitions
from hub.webhooks.deliveries import Deliveries
from hub.webhooks.policy import Verdict
from hub.webhooks.sender import Outcome
from hub.webhooks.store import WebhookStore
from tests.conftest import wait_until
from tests.integration.webhooks.steps import (
    ENDINGS,
    ended_job,
    states,
)


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
    assert {(d.generations, d.credential) for d in claimed} == {((1,), ""), ((), "k")}


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
        return [delivery.number for delivery in claimed] == [2]

    await wait_until(back, "the lease of the first claim is over")
    assert (await deliveries.record(late, Verdict("done"), Outcome(200))).state == "stale"
    assert await states(redis) == {"flight": 1}
    held = late._replace(number=2)
    assert (await deliveries.record(held, Verdict("done"), Outcome(200))).state == "done"
    assert (await deliveries.record(held, Verdict("retry"), Outcome(500))).state == "stale"
    assert await states(redis) == {"done": 1}


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
    assert b"too many" in await client.hget(keys.delivery(dead.decode()), "why")


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


async def test_what_waits_for_later_goes_with_its_webhook(
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
    await deliveries.record(delivery, Verdict("retry", 36_000), Outcome(503))
    await hooks.delete(webhook.id)
    assert await deliveries.claim(8, 30) == ([], None)
    assert await states(redis) == {}
