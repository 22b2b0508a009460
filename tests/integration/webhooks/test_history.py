"""Deliveries as they are kept: tries, bodies, lists, and being sent again, script by script."""

from __future__ import annotations

from typing import Any

import pytest
from redis.asyncio import Redis

from hub import keys
from hub.errors import BadInput, Busy, Conflict, NotFound
from hub.jobs import iso
from hub.scripts import Scripts
from hub.store import Store
from hub.transitions import Transitions
from hub.webhooks.deliveries import Claim, Deliveries
from hub.webhooks.history import History, once_id
from hub.webhooks.policy import Verdict
from hub.webhooks.sender import Outcome
from hub.webhooks.shapes import Delivery, Replayed
from hub.webhooks.store import OLDER, WebhookStore
from tests.integration.webhooks.steps import ENDINGS, ended_job, states

URL = "https://a.example/"
DEAD = Verdict("dead")


@pytest.fixture
def history(redis: Redis, scripts: Scripts) -> History:
    return History(redis, scripts)


class Field:
    """A webhook of s1 and what its deliveries are made with."""

    def __init__(
        self, redis: Redis, store: Store, transitions: Transitions, deliveries: Deliveries
    ) -> None:
        self.client: Any = redis
        self.store, self.transitions, self.deliveries = store, transitions, deliveries

    async def events(self, count: int, **fields: Any) -> list[str]:
        """So many jobs that completed, and their ids."""
        jobs = [await ended_job(self.store, self.transitions, "s1", **fields) for _ in range(count)]
        while (await self.deliveries.expand(16)).entries:
            pass
        return jobs

    async def claims(self, count: int = 4) -> list[Claim]:
        return (await self.deliveries.claim(count, 30)).deliveries

    async def end(self, verdict: Verdict, outcome: Outcome, claims: list[Claim]) -> None:
        for claim in claims:
            await self.deliveries.record(claim, verdict, outcome)

    async def dead(self, count: int) -> None:
        """So many deliveries that are dead."""
        await self.events(count)
        while claims := await self.claims():
            await self.end(DEAD, Outcome(500, response="no"), claims)


@pytest.fixture
def field(redis: Redis, store: Store, transitions: Transitions, deliveries: Deliveries) -> Field:
    return Field(redis, store, transitions, deliveries)


async def test_every_try_is_told_and_the_last_eight_are_kept(
    hooks: WebhookStore, field: Field, history: History
) -> None:
    webhook = await hooks.put(url=URL, types=ENDINGS, session_id="s1", owner="o")
    (job_id,) = await field.events(1)
    for number in range(10):
        (claim,) = await field.claims()
        outcome = Outcome(500 + number, response=f'"{number}"\n', duration=0.25)
        if number == 3:
            outcome = Outcome(None, "ConnectError: refused")
        await field.end(Verdict("retry", 0.0), outcome, [claim])
    (claim,) = await field.claims()
    whole = await history.get(claim.id)
    assert whole is not None
    assert [one.status for one in whole.history] == [502, None, *range(504, 510)]
    assert whole.history[1].error == "ConnectError: refused"
    last = whole.history[-1]
    assert (last.error, last.response, last.duration) == (None, '"9"\n', 0.25)
    assert whole.last_try == last
    assert (whole.status, whole.tries, whole.job_id) == ("sending", 10, job_id)
    assert bytes(whole.body) == claim.body, "the body as it is sent"
    assert whole.next_try_at is None
    (listed,) = (await history.page(webhook.id)).deliveries
    assert listed == Delivery(**{n: getattr(whole, n) for n in Delivery.__struct_fields__})


async def test_what_is_dead_says_why_and_is_sent_again_as_if_new(
    redis: Redis, hooks: WebhookStore, field: Field, history: History
) -> None:
    webhook = await hooks.put(url=URL, types=ENDINGS, session_id="s1", owner="o")
    await field.dead(1)
    (dead,) = (await history.page(webhook.id, status="dead")).deliveries
    assert (dead.tries, dead.why, dead.replayable) == (1, None, True)
    assert dead.last_try is not None
    assert dead.last_try.status == 500
    await history.replay(dead.id)
    (again,) = (await history.page(webhook.id)).deliveries
    assert (again.status, again.tries, again.replays, again.ended_at) == ("waiting", 0, 1, None)
    assert again.next_try_at is not None
    assert await field.client.pttl(keys.delivery(dead.id)) == -1, "what waits does not expire"
    await history.replay(dead.id)
    (still,) = (await history.page(webhook.id)).deliveries
    assert (still.status, still.replays) == ("waiting", 1)
    (claim,) = await field.claims()
    assert (claim.id, claim.tries) == (dead.id, 0)
    with pytest.raises(Conflict, match="being sent"):
        await history.replay(dead.id)
    await field.end(Verdict("done"), Outcome(200), [claim])
    assert await states(redis) == {"done": 1}
    with pytest.raises(NotFound):
        await history.replay("msg_" + "0" * 40)


async def test_a_lost_reply_neither_replays_nor_rotates_twice(
    hooks: WebhookStore,
    field: Field,
    history: History,
    scripts: Scripts,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    webhook = await hooks.put(url=URL, types=ENDINGS, session_id="s1", owner="o")
    await field.dead(1)
    (dead,) = (await history.page(webhook.id)).deliveries
    monkeypatch.setattr("hub.scripts.seed", lambda: "the same seed")
    for _ in range(2):
        await history.replay(dead.id)
        rotated = await hooks.rotate(webhook.id, 60)
    assert rotated is not None
    assert (rotated.generation, len(rotated.older)) == (2, 1)
    (again,) = (await history.page(webhook.id)).deliveries
    assert again.replays == 1


async def test_all_dead_of_a_time_are_sent_again_and_nothing_else(
    redis: Redis, hooks: WebhookStore, field: Field, history: History
) -> None:
    webhook = await hooks.put(url=URL, types=ENDINGS, session_id="s1", owner="o")
    await field.dead(6)
    await history.test(webhook.id, "webhook.test", b"{}")
    await field.end(DEAD, Outcome(500), await field.claims())
    await field.events(1)
    await field.end(Verdict("done"), Outcome(200), await field.claims())
    index = keys.deliveries("all", webhook.id)
    dead = (await history.page(webhook.id, status="dead")).deliveries
    events = [one for one in reversed(dead) if not one.test]
    # Events a second apart, of which the second to the fourth are meant.
    for number, one in enumerate(events):
        await field.client.zadd(index, {one.id: 1_000 * number})
    assert await history.replay_failed(webhook.id, 1_000, 3_999) == Replayed(3)
    assert await states(redis) == {"due": 3, "dead": 4, "done": 1}
    waiting = (await history.page(webhook.id, status="waiting")).deliveries
    assert [one.id for one in waiting] == [one.id for one in reversed(events[1:4])]
    assert await history.replay_failed(webhook.id, 0, 2**50) == Replayed(3)
    assert await history.replay_failed(webhook.id, 0, 2**50) == Replayed(0)
    assert await states(redis) == {"due": 6, "dead": 1, "done": 1}


async def test_what_failed_and_waits_is_sent_at_once_and_stays_where_it_was(
    redis: Redis, hooks: WebhookStore, field: Field, history: History
) -> None:
    webhook = await hooks.put(url=URL, types=ENDINGS, session_id="s1", owner="o")
    await field.events(5)
    await field.end(Verdict("retry", 7_200.0), Outcome(503), await field.claims(3))
    claims = await field.claims(1)
    assert await states(redis) == {"due": 4, "flight": 1}, "one of them was never tried"
    waiting = (await history.page(webhook.id, status="waiting")).deliveries
    first = next(one for one in waiting if one.tries)
    await history.replay(first.id)
    assert await history.replay_failed(webhook.id, 0, 2**50) == Replayed(2)
    await field.end(Verdict("done"), Outcome(200), claims)
    again = await field.claims()
    assert sorted(claim.tries for claim in again) == [0, 1, 1, 1], "the schedule goes on"
    assert {claim.id for claim in again} >= {first.id}


async def test_a_long_time_is_gone_through_step_by_step(
    hooks: WebhookStore, history: History, field: Field, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events of the same millisecond on both sides of a step are each sent once."""
    webhook = await hooks.put(url=URL, types=ENDINGS, session_id="s1", owner="o")
    await field.dead(7)
    index = keys.deliveries("all", webhook.id)
    ids = await field.client.zrange(index, 0, -1)
    await field.client.zadd(index, {one: min(n, 4) for n, one in enumerate(ids)})
    monkeypatch.setattr("hub.webhooks.history.REPLAY_LOOK", 3)
    assert await history.replay_failed(webhook.id, 0, 100) == Replayed(7)


async def test_no_more_wait_than_may(hooks: WebhookStore, field: Field, history: History) -> None:
    webhook = await hooks.put(url=URL, types=ENDINGS, session_id="s1", owner="o")
    await field.dead(3)
    due = keys.deliveries("due", webhook.id)
    await field.client.zadd(due, {f"msg_{number}": 2**52 for number in range(9_998)})
    assert await history.replay_failed(webhook.id, 0, 2**50) == Replayed(2, more=True)
    (dead,) = (await history.page(webhook.id, status="dead")).deliveries
    with pytest.raises(Busy):
        await history.replay_failed(webhook.id, 0, 2**50)
    with pytest.raises(Busy):
        await history.replay(dead.id)
    with pytest.raises(Busy):
        await history.test(webhook.id, "webhook.test", b"{}")


async def test_a_disabled_webhook_is_sent_nothing_again_before_it_is_enabled(
    redis: Redis, hooks: WebhookStore, field: Field, history: History
) -> None:
    webhook = await hooks.put(url=URL, types=ENDINGS, session_id="s1", owner="o")
    await field.events(2)
    await field.end(DEAD, Outcome(500), await field.claims(1))
    disabled = await hooks.edit(webhook.id, {}, False, "ada disabled it")
    assert disabled is not None
    assert disabled.disabled is not None
    assert disabled.disabled.reason == "ada disabled it"
    assert await field.client.hexists(keys.HOOKED, "s1") == 0
    assert await field.claims() == []
    assert await states(redis) == {"dead": 2}
    dropped, tried = sorted((await history.page(webhook.id)).deliveries, key=lambda one: one.tries)
    assert (tried.why, dropped.why) == (None, "the webhook is disabled: ada disabled it")
    for send in (
        history.replay(tried.id),
        history.replay_failed(webhook.id, 0, 2**50),
        history.test(webhook.id, "webhook.test", b"{}"),
    ):
        with pytest.raises(Conflict, match=r'ada disabled it\. Enable it first.*"enabled": true'):
            await send
    again = await hooks.edit(webhook.id, {}, False, "another reason")
    assert again is not None
    assert again.disabled == disabled.disabled, "the first reason stays"
    enabled = await hooks.edit(webhook.id, {}, True, "")
    assert enabled is not None
    assert enabled.disabled is None
    assert await history.replay_failed(webhook.id, 0, 2**50) == Replayed(2)
    assert await field.client.hexists(keys.HOOKED, "s1") == 1
    (shown,) = (await history.page(webhook.id, job_id=dropped.job_id)).deliveries
    assert shown.why is None


async def test_another_address_begins_the_health_anew(hooks: WebhookStore, field: Field) -> None:
    webhook = await hooks.put(url=URL, types=ENDINGS, session_id="s1", owner="o")
    await field.dead(1)
    same = await hooks.edit(webhook.id, {"url": URL, "description": "mine"}, None, "")
    assert same is not None
    assert same.failing_since is not None
    moved = await hooks.edit(webhook.id, {"url": "https://b.example/", "description": ""}, None, "")
    assert moved is not None
    assert (moved.failing_since, moved.description) == (None, None)
    assert await hooks.edit("wh_none", {"url": URL}, True, "") is None


async def test_of_what_was_delivered_the_newest_hundred_can_be_sent_again(
    hooks: WebhookStore, field: Field, history: History
) -> None:
    webhook = await hooks.put(url=URL, types=ENDINGS, session_id="s1", owner="o")
    await field.events(1)
    (first,) = await field.claims()
    await field.end(Verdict("done"), Outcome(200), [first])
    # A hundred others, newer by their time alone.
    seconds, _ = await field.client.time()
    later = {f"msg_{n}": (seconds + 60 + n) * 1_000 for n in range(99)}
    await field.client.zadd(keys.deliveries("done", webhook.id), later)
    shown = await history.get(first.id)
    assert shown is not None
    assert shown.replayable
    await field.events(1)
    (second,) = await field.claims()
    await field.end(Verdict("done"), Outcome(200), [second])
    old, new = await history.get(first.id), await history.get(second.id)
    assert old is not None
    assert new is not None
    assert (old.replayable, old.body, new.replayable) == (False, None, True)
    with pytest.raises(Conflict, match="newest 100"):
        await history.replay(first.id)
    await history.replay(second.id)


async def test_the_list_forgets_what_is_no_longer_kept(
    redis: Redis, hooks: WebhookStore, field: Field, history: History
) -> None:
    webhook = await hooks.put(url=URL, types=ENDINGS, session_id="s1", owner="o")
    index, done = keys.deliveries("all", webhook.id), keys.deliveries("done", webhook.id)
    await field.events(2)
    old, other = await field.claims()
    await field.end(Verdict("done"), Outcome(200), [old])
    assert await field.client.pttl(index) == -1, "the list outlives what is in flight"
    seconds, _ = await field.client.time()
    await field.client.zadd(done, {old.id: (seconds - 7 * 86_400 - 1) * 1_000})
    await field.end(Verdict("done"), Outcome(200), [other])
    assert await field.client.zrange(index, 0, -1) == [other.id.encode()]
    assert await field.client.exists(keys.delivery(old.id)) == 0
    assert await field.client.pttl(index) > 6 * 86_400_000
    # What expired by itself is found by chance: with a list of one, for certain.
    await field.client.delete(keys.delivery(other.id))
    assert (await history.page(webhook.id)).deliveries == []
    await hooks.delete(webhook.id)
    assert await field.client.exists(index) == 0


async def test_pages_follow_each_other_and_a_strange_cursor_is_refused(
    hooks: WebhookStore, field: Field, history: History
) -> None:
    webhook = await hooks.put(url=URL, types=ENDINGS, session_id="s1", owner="o")
    await field.events(5)
    seen: list[str] = []
    cursor: str | None = None
    while True:
        page = await history.page(webhook.id, limit=2, cursor=cursor)
        seen += [one.id for one in page.deliveries]
        if page.more is None:
            break
        cursor = page.more
    ids = await field.client.zrevrange(keys.deliveries("all", webhook.id), 0, -1)
    assert seen == [one.decode() for one in ids]
    with pytest.raises(BadInput):
        await history.page(webhook.id, cursor="x")


async def test_older_secrets_sign_until_their_time_and_no_more_than_four(
    hooks: WebhookStore, field: Field
) -> None:
    webhook = await hooks.put(url=URL, types=ENDINGS, session_id="s1", owner="o")

    async def signing() -> tuple[int, ...]:
        await field.events(1)
        (claim,) = await field.claims()
        await field.end(Verdict("done"), Outcome(200), [claim])
        return claim.generations

    assert await signing() == (1,)
    for _ in range(OLDER):
        await hooks.rotate(webhook.id, 3_600)
    assert await signing() == (5, 4, 3, 2, 1)
    with pytest.raises(Conflict, match="4 older secrets"):
        await hooks.rotate(webhook.id, 3_600)
    seconds, _ = await field.client.time()
    older = f"3:{seconds * 1_000 - 1} 4:{seconds * 1_000 + 60_000}"
    await field.client.hset(keys.webhook(webhook.id), "older", older)
    assert await signing() == (5, 4)
    # No older one signs for longer than the last rotation said.
    rotated = await hooks.rotate(webhook.id, 5)
    assert rotated is not None
    assert [one.generation for one in rotated.older] == [4, 5]
    assert all(one.until <= iso((seconds + 30) * 1_000) for one in rotated.older)
    ended = await hooks.rotate(webhook.id, 0)
    assert ended is not None
    assert ended.older == []
    assert await signing() == (7,)
    assert await hooks.rotate("wh_none", 0) is None


async def test_the_id_of_one_offs_is_the_same_in_lua_and_python(
    field: Field, history: History
) -> None:
    urls = [
        "https://B.example:8443/hook?x=1",
        "https://b.example",
        'HTTPS://b.example/"é\\',
        "https://b.example#part",
    ]
    for url in urls:
        (job_id,) = await field.events(1, webhook_url=url, credential="k é")
        claims = await field.claims()
        assert [claim.webhook_id for claim in claims] == [once_id(url, "k é")]
        (shown,) = await history.of_job(job_id, [once_id(url, "k é")], 0, None)
        assert (shown.id, shown.job_id) == (claims[0].id, job_id)
        whole = await history.get(shown.id)
        assert whole is not None
        assert whole.url == url
        await field.end(Verdict("done"), Outcome(200), claims)
