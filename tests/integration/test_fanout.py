"""The fanout on a real Valkey: what it hears, what it mends, what it keeps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
from redis.asyncio import Redis

from hub import keys
from hub.connection import connect
from hub.errors import TooMany
from hub.events import Publication
from hub.fanout import Fanout
from hub.feed.ring import RING_ENTRIES
from hub.paging import PAGE
from hub.scripts import Scripts
from hub.store import Store
from hub.transitions import Transitions
from tests.conftest import Server, wait_until
from tests.integration.fanout_bench import Bench, Outlet


@pytest.fixture
async def bench(redis: Redis, store: Store, transitions: Transitions) -> AsyncIterator[Bench]:
    fanout = Fanout(redis, store, limit=3, check_every=0.3, linger=0.1)
    running = asyncio.create_task(fanout.run())
    yield Bench(fanout, redis, store, transitions)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_it_is_healthy_once_a_probe_came_back(bench: Bench) -> None:
    assert not bench.fanout.healthy
    await bench.healthy()


async def test_what_arrives_together_is_handed_over_together(bench: Bench) -> None:
    outlet = await bench.subscriber()
    pipe = bench.redis.pipeline(transaction=True)
    for number in range(10):
        prev = f"{number}-7" if number else "0-0"
        cursor = f"{number + 1}-7"
        head = f"L {cursor} {prev} - 0"
        pipe.xadd(keys.events("s1"), {"h": head, "e": "{}"}, id=cursor)
        pipe.execute_command("SPUBLISH", keys.live("s1"), head + "\n{}")
    await pipe.execute()
    await outlet.until(lambda: len(outlet.numbers) == 10)
    assert outlet.numbers == list(range(1, 11))
    assert len(outlet.batches) < 10
    assert [text for batch in outlet.batches for text in batch.texts] == ["{}"] * 10


async def test_subscribers_of_a_session_share_the_bytes(bench: Bench) -> None:
    one, two = await bench.subscriber(), await bench.subscriber()
    await bench.queue()
    await one.until(lambda: bool(one.batches))
    await two.until(lambda: bool(two.batches))
    assert one.batches[0] is two.batches[0]


async def test_a_lost_last_event_is_found_by_the_check(bench: Bench) -> None:
    outlet = await bench.subscriber()
    await bench.queue()
    await bench.suppressed()
    await outlet.until(lambda: outlet.numbers == [1, 2])
    assert len(outlet.hellos) == 1


async def test_a_gap_is_mended_before_what_follows_it(bench: Bench) -> None:
    outlet = await bench.subscriber()
    for _ in range(3):
        await bench.suppressed()
    await bench.queue()
    await bench.queue()
    await outlet.until(lambda: len(outlet.numbers) == 5)
    assert outlet.numbers == [1, 2, 3, 4, 5]
    assert len(outlet.hellos) == 1


async def test_a_killed_pubsub_connection_loses_nothing(bench: Bench) -> None:
    outlet = await bench.subscriber()
    for _ in range(3):
        await bench.queue()
        await bench.redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        await bench.queue()
    await outlet.until(lambda: len(outlet.numbers) >= 6)
    assert outlet.numbers == [1, 2, 3, 4, 5, 6]
    assert len(outlet.hellos) == 1
    assert bench.fanout.counts["reconnects"] >= 1


async def test_a_silent_pubsub_connection_is_replaced(bench: Bench) -> None:
    outlet = await bench.subscriber()
    await bench.healthy()
    # The server forgets what the connection listens to, while it looks alive.
    channels = bench.fanout._channels
    channels._words = dict.fromkeys(await bench.channels(), "SUNSUBSCRIBE")
    channels._changed.set()
    await bench.queue()

    async def replaced() -> bool:
        return bench.fanout.counts["reconnects"] == 1 and bench.fanout.healthy

    await wait_until(replaced, "a new connection")
    await bench.queue()
    await outlet.until(lambda: outlet.numbers == [1, 2])


async def test_a_hub_that_is_behind_takes_nothing_for_missed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    outlet = await bench.subscriber()
    await bench.healthy()
    fanout, probe, asked = bench.fanout, bench.fanout._checker.probe, 0

    async def until(number: int, seconds: float) -> bool:
        nonlocal asked
        asked += 1
        # Not what is waited for, but a sign that more is on its way.
        fanout.flow.received["G"] += 1
        return await type(probe).until(probe, number, seconds)

    async def patient() -> bool:
        return asked >= 8

    with monkeypatch.context() as patch:
        patch.setattr(fanout, "_by_channel", {})
        patch.setattr(probe, "channel", b"on its way")
        patch.setattr(probe, "until", until)
        await bench.queue()
        await wait_until(patient, "a check that waits for what is on its way")
    [(_, entry)] = await bench.redis.xrange(keys.events("s1"))
    fanout.published(keys.live("s1").encode(), entry[b"h"] + b"\n" + entry[b"e"])
    await outlet.until(lambda: outlet.numbers == [1])
    await bench.healthy()
    assert fanout.flow.repaired == 0
    assert len(outlet.hellos) == 1


async def test_what_is_no_publication_is_passed_over(bench: Bench) -> None:
    outlet = await bench.subscriber()
    for nonsense in ("", "no header", "L 1-1\n{}", "Z 1\n{}"):
        await bench.redis.execute_command("SPUBLISH", keys.live("s1"), nonsense)
    await bench.queue()
    await outlet.until(lambda: outlet.numbers == [1])
    assert bench.fanout.counts["reconnects"] == 0


async def test_a_restored_older_past_becomes_a_snapshot(bench: Bench) -> None:
    outlet = await bench.subscriber()
    for _ in range(3):
        await bench.queue()
    await outlet.until(lambda: len(outlet.numbers) == 3)
    # As after a failover to a stale replica: the last entry is gone.
    entries = await bench.redis.xrange(keys.events("s1"))
    pipe = bench.redis.pipeline(transaction=True)
    pipe.delete(keys.events("s1"))
    for cursor, fields in entries[:-1]:
        pipe.xadd(keys.events("s1"), fields, id=cursor)
    await pipe.execute()
    await outlet.until(lambda: len(outlet.hellos) == 2)
    assert b'"resumed":false' in outlet.hellos[1]
    await outlet.live()
    assert outlet.subscriber.cursor == entries[-2][0]
    await bench.queue()
    await outlet.until(lambda: outlet.numbers == [1, 2, 3, 3])


async def test_a_deleted_session_is_told_and_may_begin_again(bench: Bench) -> None:
    await bench.queue()
    outlet = await bench.subscriber()
    await bench.store.forget("s1")
    await outlet.until(lambda: outlet.was_deleted)
    assert outlet.subscriber.state == "ended"
    again = await bench.subscriber()
    await bench.queue()
    await again.until(lambda: again.numbers == [1])


async def test_channels_are_left_late_and_only_without_subscribers(bench: Bench) -> None:
    one, two = await bench.subscriber(), await bench.subscriber()
    channel = keys.live("s1").encode()
    bench.fanout.unsubscribe(one.subscriber)
    assert channel in await bench.channels()
    bench.fanout.unsubscribe(two.subscriber)
    assert bench.fanout.sessions == 1

    async def left() -> bool:
        return channel not in await bench.channels()

    await wait_until(left, "the end of the subscription")
    assert bench.fanout.sessions == 0
    again = await bench.subscriber()
    await bench.queue()
    await again.until(lambda: again.numbers == [1])


async def test_a_session_has_a_limit_of_subscribers(bench: Bench) -> None:
    outlets = [await bench.subscriber() for _ in range(3)]
    with pytest.raises(TooMany):
        await bench.subscriber()
    bench.fanout.unsubscribe(outlets[0].subscriber)
    await bench.subscriber()


async def test_listeners_hear_what_is_published_and_that_something_may_be_missing(
    bench: Bench,
) -> None:
    heard: list[Publication] = []
    changed = asyncio.Event()

    def hear(publication: Publication) -> None:
        heard.append(publication)
        changed.set()

    async def until(kind: str) -> None:
        async with asyncio.timeout(60):
            while not any(one.kind == kind for one in heard):
                changed.clear()
                await changed.wait()
        heard.clear()

    async with bench.fanout.listening("s1", hear):
        await until("X")
        await bench.queue()
        await until("L")
        await bench.store.forget("s1")
        await until("X")


async def test_many_sessions_are_followed_at_once(bench: Bench) -> None:
    names = [f"m{number}" for number in range(600)]
    outlets = [Outlet(bench.fanout, name) for name in names]
    for outlet in outlets:
        bench.fanout.subscribe(outlet.subscriber)
    for outlet in outlets:
        await outlet.live()
    await bench.redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    for name in names[::50]:
        await bench.queue(name)

    def told(outlet: Outlet) -> bool:
        return outlet.numbers == [1]

    for outlet in outlets[::50]:
        await outlet.until(partial(told, outlet))


async def test_an_outage_of_redis_keeps_subscribers(own_valkey: Server, settings: Any) -> None:
    redis = connect(own_valkey.url)
    store = Store(redis, Scripts(settings))
    fanout = Fanout(redis, store, check_every=0.3, linger=0.1)
    running = asyncio.create_task(fanout.run())
    bench = Bench(fanout, redis, store, Transitions(redis, Scripts(settings)))
    outlet = await bench.subscriber()
    await bench.queue()
    own_valkey.kill()

    async def unhealthy() -> bool:
        return not fanout.healthy

    await wait_until(unhealthy, "noticing the outage")
    newcomer = Outlet(fanout, "s2")
    fanout.subscribe(newcomer.subscriber)
    own_valkey.start()
    await bench.queue()
    await bench.healthy()
    await outlet.until(lambda: outlet.numbers == [1, 2])
    await newcomer.live()
    assert len(outlet.hellos) == 1
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await redis.aclose()


async def test_a_feed_starts_once_it_has_heard_what_was_published_before(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.healthy()
    asked, heard = asyncio.Event(), asyncio.Event()
    real = bench.fanout.heard_all

    async def heard_all(most: float) -> None:
        asked.set()
        await heard.wait()
        await real(most)

    monkeypatch.setattr(bench.fanout, "heard_all", heard_all)
    job = await bench.queue()
    outlet = Outlet(bench.fanout, "s1")
    bench.fanout.subscribe(outlet.subscriber)
    await asked.wait()
    # It is told of in the hello, and what has ended must not be followed by it.
    late = b'G %b 1 1\n{"type":"job.log"}' % job.encode()
    await bench.redis.execute_command("SPUBLISH", keys.live("s1"), late)
    assert outlet.hellos == []
    heard.set()
    await outlet.live()
    assert outlet.seen == []
    await bench.redis.execute_command("SPUBLISH", keys.live("s1"), late)
    await outlet.until(lambda: [one.kind for one in outlet.seen] == ["G"])


async def test_those_who_come_back_together_share_a_page(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(RING_ENTRIES + 10):
        await bench.queue()
    first = (await bench.redis.xrange(keys.events("s1"), count=1))[0][0]
    everything = list(range(2, RING_ENTRIES + 11))
    reads: list[bytes] = []
    real = bench.store.history

    async def counted(session_id: str, after: bytes, limit: int = 2_000) -> Any:
        if limit == PAGE:
            reads.append(after)
        return await real(session_id, after, limit)

    monkeypatch.setattr(bench.store, "history", counted)
    outlets = [Outlet(bench.fanout, "s1", first) for _ in range(3)]
    for outlet in outlets:
        bench.fanout.subscribe(outlet.subscriber)
    for outlet in outlets:
        await outlet.live()
    for outlet in outlets[1:]:
        bench.fanout.unsubscribe(outlet.subscriber)
    late = await bench.subscriber(after=first)
    for outlet in (*outlets, late):
        assert outlet.numbers == everything
        assert outlet.batches[0] is late.batches[0]
    assert len(reads) == len(set(reads)) == 2
    # An event is missed: what was read before the doubt is read anew.
    await bench.suppressed()
    await bench.queue()
    again = await bench.subscriber(after=first)
    assert again.numbers == [*everything, RING_ENTRIES + 11, RING_ENTRIES + 12]
    assert reads.count(first) == 2


async def test_whether_a_cursor_replays_is_found_out_once_for_each_top(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(RING_ENTRIES + 10):
        await bench.queue()
    first = (await bench.redis.xrange(keys.events("s1"), count=1))[0][0]
    reads: list[bytes] = []
    real = bench.store.history

    async def counted(session_id: str, after: bytes, limit: int = 2_000) -> Any:
        if limit == 2_000:
            reads.append(after)
        return await real(session_id, after, limit)

    monkeypatch.setattr(bench.store, "history", counted)
    watching = await bench.subscriber()

    async def resumes(last: int) -> None:
        outlet = await bench.subscriber(after=first)
        assert outlet.numbers == list(range(2, last + 1))
        assert b'"resumed":true' in outlet.hellos[0]
        bench.fanout.unsubscribe(outlet.subscriber)

    for _ in range(3):
        await resumes(RING_ENTRIES + 10)
    assert reads == [first]
    await bench.queue()
    await watching.until(lambda: watching.numbers == [RING_ENTRIES + 11])
    await resumes(RING_ENTRIES + 11)
    assert reads == [first, first]
