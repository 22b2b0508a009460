"""Feeds in single steps: bytes, bounds, and what the model test does not reach."""

from __future__ import annotations

import json

import pytest

from hub.events import ZERO, Publication, parse
from hub.feed import MARKS, Batch, Feed, Step, Subscriber, ends, gap
from hub.feed.batch import sse
from hub.feed.history import History, contiguous
from hub.feed.latest import LATEST_BYTES, LATEST_ENTRIES, Latest
from hub.feed.ring import RING_BYTES, RING_ENTRIES, Ring
from hub.feed.session import HELD_BYTES

NOW = "2026-01-01T00:00:00.000Z"


class Outlet:
    """Takes what fits into `left` bytes."""

    def __init__(self, left: int = 10_000_000) -> None:
        self.left = left
        self.deleted = False

    def accepts(self, size: int) -> bool:
        return size <= self.left

    def room(self) -> int:
        return self.left

    def write(self, subscriber: Subscriber, batch: Batch) -> None: ...

    def greet(self, subscriber: Subscriber, hello: bytes, cursor: bytes, over: bool) -> None: ...

    def kick(self) -> None: ...

    def gone(self, subscriber: Subscriber) -> None:
        self.deleted = True


def event(
    number: int, key: bytes = b"j", rev: int = 1, size: int = 0, end: bool = False
) -> Publication:
    prev = b"%d-7" % (number - 1) if number > 1 else ZERO
    kind = b"job.failed" if end else b"job.running"
    body = b'{"id":"%d-7","type":"%s","pad":"%s"}' % (number, kind, b"x" * size)
    return Publication("L", body, cursor=b"%d-7" % number, prev=prev, key=key, rev=rev)


def progress(key: bytes, rev: int, size: int = 0) -> Publication:
    return Publication("P", b'{"type":"job.progress","p":"%s"}' % (b"x" * size), key=key, rev=rev)


def log(key: bytes, first: int, last: int) -> Publication:
    return Publication("G", b'{"type":"job.log"}', key=key, first=first, last=last)


def settled(top: bytes = ZERO) -> Feed:
    feed = Feed("s")
    feed.settle_at(feed.reading(), top)
    assert feed.settled
    return feed


def joined(feed: Feed, outlet: Outlet, *, job: bytes | None = None) -> Subscriber:
    """A live subscriber."""
    subscriber = Subscriber("s", outlet, job=job)
    feed.attach(subscriber)
    assert feed.catch_up(subscriber, NOW) is Step.HELLO
    feed.start(subscriber)
    feed.started(subscriber, feed.top or ZERO)
    assert isinstance(feed.catch_up(subscriber, NOW), Batch)
    assert subscriber.state == "live"
    return subscriber


def test_what_scripts_publish_is_framed_without_being_decoded() -> None:
    one = parse(b'L 2-5 1-9 j 3\n{"id":"2-5","type":"job.completed","data":{"a":\r\n1}}')
    two = parse(b'P j 4\n{"type":"job.progress"}')
    batch = Batch([one, two])
    assert batch.cursor == b"2-5"
    assert batch.texts[1] == '{"type":"job.progress"}'
    assert batch.texts is batch.texts
    assert batch.sse == (
        b'id: 2-5\ndata: {"id":"2-5","type":"job.completed","data":{"a":  1}}\n\n'
        b'data: {"type":"job.progress"}\n\n'
    )
    assert batch.sse is batch.sse
    assert sse(b"{}") == b"data: {}\n\n"


def test_a_batch_of_one_job_keeps_the_cursor_of_all() -> None:
    batch = Batch([event(1, b"a"), event(2, b"b"), progress(b"a", 2)])
    only = batch.only(b"a")
    assert [one.key for one in only.publications] == [b"a", b"a"]
    assert only.cursor == b"2-7"
    assert batch.only(b"a") is only
    assert batch.only(None) is batch
    assert batch.only(b"c").cursor == b"2-7"


@pytest.mark.parametrize(
    ("body", "over"),
    [
        (b'{"id":"1-1","type":"job.completed","x":1}', True),
        (b'{"id":"1-1","type":"job.failed","x":1}', True),
        (b'{"id":"1-1","type":"job.cancelled","x":1}', True),
        (b'{"id":"1-1","type":"job.cancelling","x":1}', False),
        (b'{"id":"1-1","type":"job.running","data":{"a":"' + b"x" * 200, False),
        (b'{"id":"1-1","type":"message.user","data":"%s"type":"job.failed"' % (b" " * 120), False),
    ],
)
def test_terminal_events_are_known_by_their_type_alone(body: bytes, over: bool) -> None:
    assert ends(Publication("L", body, cursor=b"1-1", prev=ZERO)) is over


def test_a_gap_is_an_event_like_any_other() -> None:
    assert json.loads(gap("s", b"j", 3, 9, NOW).body) == {
        "type": "job.log_gap",
        "session_id": "s",
        "job_id": "j",
        "time": NOW,
        "data": {"from": 3, "to": 9},
    }


def test_the_ring_is_bounded_by_number_and_by_bytes() -> None:
    ring = Ring(ZERO)
    for number in range(1, 3 * RING_ENTRIES):
        ring.append(event(number))
    assert len(ring.after(ring.base) or []) == RING_ENTRIES
    assert ring.after(ZERO) is None
    assert ring.after(ring.top) == []
    for number in range(3 * RING_ENTRIES, 3 * RING_ENTRIES + 5):
        ring.append(event(number, size=RING_BYTES // 3))
    assert sum(len(one.body) for one in ring.after(ring.base) or []) <= RING_BYTES
    ring.append(event(3 * RING_ENTRIES + 5, size=2 * RING_BYTES))
    assert len(ring.after(ring.base) or []) == 1
    with pytest.raises(ValueError, match="follows"):
        ring.append(event(999))


def test_latest_progress_is_bounded_and_overtaken() -> None:
    latest = Latest()
    for number in range(LATEST_ENTRIES + 1):
        latest.take(progress(b"j%d" % number, 1))
    assert latest.get(b"j0") is None
    assert latest.get(b"j1") is not None
    latest.take(progress(b"big", 1, size=LATEST_BYTES - 100))
    assert latest.get(b"j1") is None
    latest.outdate(event(1, b"big", rev=1))
    assert latest.get(b"big") is None
    latest.take(progress(b"m-1", 0))
    latest.take(progress(b"m-2", 0))
    latest.outdate(Publication("L", b'{"data":{"message_id":"m-1"}}', cursor=b"1-1", key=b"-"))
    assert latest.get(b"m-1") is None
    assert latest.get(b"m-2") is not None


def test_too_many_marks_become_a_hello_at_the_same_place() -> None:
    feed, outlet = settled(), Outlet()
    subscriber = joined(feed, outlet)
    outlet.left = 0
    feed.publish(event(1, size=10))
    batch = feed.take()
    assert batch is not None
    feed.lag(subscriber, batch)
    for number in range(MARKS + 1):
        feed.publish(log(b"j%d" % number, 1, 1))
        feed.take()
        assert len(subscriber.gaps) <= MARKS
    assert (subscriber.state, subscriber.after) == ("starting", ZERO)
    # And once more while its hello is being made: that hello does not count.
    feed.start(subscriber)
    for number in range(MARKS + 1):
        feed.publish(progress(b"j%d" % number, 2))
    feed.take()
    feed.started(subscriber, ZERO)
    assert feed.catch_up(subscriber, NOW) is Step.HELLO
    feed.start(subscriber)
    feed.started(subscriber, ZERO)
    assert feed.catch_up(subscriber, NOW) is Step.FULL


def test_one_event_larger_than_the_bound_goes_alone() -> None:
    class Narrow(Outlet):
        def accepts(self, size: int) -> bool:
            return True

    feed, outlet = settled(), Narrow()
    subscriber = joined(feed, outlet)
    for number in range(1, 4):
        feed.publish(event(number, size=500))
    batch = feed.take()
    assert batch is not None
    feed.lag(subscriber, batch)
    outlet.left = 100
    for number in range(1, 4):
        part = feed.catch_up(subscriber, NOW)
        assert isinstance(part, Batch)
        assert part.cursor == b"%d-7" % number
    assert subscriber.state == "live"


def test_a_full_outlet_gets_nothing() -> None:
    feed, outlet = settled(), Outlet()
    subscriber = joined(feed, outlet)
    feed.publish(event(1))
    batch = feed.take()
    assert batch is not None
    outlet.left = 0
    feed.lag(subscriber, batch)
    assert feed.catch_up(subscriber, NOW) is Step.FULL
    assert subscriber.cursor == ZERO


def test_marks_wait_for_room_one_by_one() -> None:
    feed, outlet = settled(), Outlet()
    subscriber = joined(feed, outlet)
    outlet.left = 0
    for number in range(3):
        feed.publish(log(b"j%d" % number, 1, 2))
    batch = feed.take()
    assert batch is not None
    feed.lag(subscriber, batch)
    told = []
    while subscriber.state == "lagging":
        outlet.left = 250
        part = feed.catch_up(subscriber, NOW)
        assert isinstance(part, Batch)
        told += [one.key for one in part.publications]
    assert told == [b"j0", b"j1", b"j2"]


def test_while_it_is_mended_no_more_than_the_bound_is_held() -> None:
    feed = settled()
    subscriber = joined(feed, Outlet())
    feed.doubt()
    epoch = feed.reading()
    size = HELD_BYTES // 8
    for number in range(1, 12):
        feed.publish(event(number, size=size))
    for line in range(1, 50):
        feed.publish(log(b"j", line, line))
        feed.publish(progress(b"j", line + 100, size=2_000))
    assert subscriber.state == "lagging"
    assert subscriber.gaps[b"j"][1] == 49
    # The read began before anything came, so another one is needed for what was not held.
    feed.settle(epoch, History(True, [], ZERO))
    assert not feed.settled
    entries = [event(number, size=size) for number in range(1, 12)]
    after = feed.top or b""
    rest = [
        entry for entry in entries if int(entry.cursor.split(b"-")[0]) > int(after.split(b"-")[0])
    ]
    feed.settle(feed.reading(), History(True, rest, entries[-1].cursor))
    assert feed.settled
    assert feed.top == b"11-7"
    feed.take()
    assert subscriber.gaps == {b"j": (1, 49)}
    step = feed.catch_up(subscriber, NOW)
    # Eleven of these are more than the ring holds.
    assert step is Step.PAGE
    part = feed.page(subscriber, History(True, entries, b"11-7"), NOW)
    assert isinstance(part, Batch)
    assert len(part.publications) == 11
    last = feed.catch_up(subscriber, NOW)
    assert isinstance(last, Batch)
    assert [one.kind for one in last.publications] == ["P", "G"]
    assert last.publications[0].rev == 149
    assert subscriber.state == "live"


def test_what_was_held_follows_what_was_missed_in_its_own_order() -> None:
    feed = settled()
    held = [event(3), log(b"a", 1, 1), event(4, b"b", end=True), log(b"b", 9, 9), progress(b"a", 5)]
    for publication in [*held, event(6, b"c")]:
        feed.publish(publication)
    epoch = feed.reading()
    missed = [event(1), event(2, b"x", end=True)]
    feed.publish(event(7, b"c"))
    feed.settle(
        epoch, History(True, [*missed, event(3), held[2], event(5), event(6, b"c")], b"6-7")
    )
    assert feed.settled
    batch = feed.take()
    assert batch is not None
    # The log that came after the end of its job goes nowhere.
    expected = [*missed, *held[:3], held[4], event(5), event(6, b"c"), event(7, b"c")]
    assert batch.publications == expected


def test_progress_of_a_job_that_ended_unheard_is_dropped() -> None:
    feed = settled()
    feed.deaf()
    feed.publish(progress(b"j", 3))
    feed.publish(log(b"k", 1, 1))
    feed.settle(feed.reading(), History(True, [event(1, rev=4, end=True)], b"1-7"))
    batch = feed.take()
    assert batch is not None
    assert [one.kind for one in batch.publications] == ["L", "G"]


def test_a_base_gap_shows_although_nothing_was_seen_before() -> None:
    feed = settled()
    feed.publish(event(2))
    assert not feed.settled
    feed.settle(feed.reading(), History(True, [event(1), event(2)], b"2-7"))
    batch = feed.take()
    assert batch is not None
    assert [one.cursor for one in batch.publications] == [b"1-7", b"2-7"]


def test_what_was_skipped_before_a_hello_is_not_told_after_it() -> None:
    feed = Feed("s")
    subscriber = Subscriber("s", Outlet())
    feed.attach(subscriber)
    # The job has ended in what the top and the hello are read from.
    feed.publish(log(b"j", 1, 1))
    feed.publish(progress(b"j", 2))
    feed.settle_at(feed.reading(), b"4-7")
    feed.take()
    feed.start(subscriber)
    feed.publish(log(b"k", 5, 6))
    # This job ends while the hello is being made, so that one of the two tells it.
    feed.publish(log(b"l", 2, 2))
    feed.publish(event(5, b"l", end=True))
    feed.take()
    feed.started(subscriber, b"5-7")
    part = feed.catch_up(subscriber, NOW)
    assert isinstance(part, Batch)
    assert [(one.kind, one.key) for one in part.publications] == [("G", b"k")]


def test_another_past_greets_everybody_anew_where_they_are() -> None:
    feed, outlet = settled(), Outlet()
    live, starting = joined(feed, outlet), Subscriber("s", outlet, after=b"1-7")
    feed.attach(starting)
    feed.publish(event(1))
    feed.publish(log(b"k", 1, 1))
    batch = feed.take()
    assert batch is not None
    outlet.left = 0
    feed.lag(live, batch)
    feed.publish(event(2))
    feed.take()
    feed.doubt()
    feed.settle(feed.reading(), History(False, [], b"1-7"))
    assert (feed.settled, feed.top) == (True, b"1-7")
    assert feed.catch_up(live, NOW) is feed.catch_up(starting, NOW) is Step.HELLO
    assert (live.after, live.gaps) == (ZERO, {})
    assert starting.after == b"1-7"


def test_what_was_read_under_an_earlier_doubt_says_nothing() -> None:
    feed = settled()
    feed.doubt()
    epoch = feed.reading()
    feed.deaf()
    feed.settle(epoch, History(True, [], ZERO))
    feed.settle_at(epoch, ZERO)
    assert not feed.settled


def test_a_deleted_session_begins_anew() -> None:
    feed = settled(b"5-7")
    subscriber = joined(feed, Outlet())
    assert feed.forget() == [subscriber]
    assert subscriber.state == "ended"
    feed.publish(event(1))
    assert (feed.settled, feed.top) == (True, b"1-7")


def test_contiguous_entries_name_each_other() -> None:
    assert contiguous(ZERO, [event(1), event(2)])
    assert not contiguous(b"0-1", [event(1)])
    assert not contiguous(ZERO, [event(1), event(3)])
    assert contiguous(b"9-9", [])


def test_it_says_when_it_would_start_elsewhere() -> None:
    feed = Feed("s")
    assert feed.starts_at()
    feed.settle_at(feed.reading(), b"1-7")
    feed.doubt()
    assert not feed.starts_at()
    assert not feed.starts_at(History(True, [event(2), event(3)], b"3-7"))
    assert feed.starts_at(History(True, [event(3)], b"3-7"))
    assert feed.starts_at(History(False, [], b"3-7"))
