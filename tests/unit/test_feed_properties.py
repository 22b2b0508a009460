"""The feed against a model: whatever is dropped, doubled, reordered, trimmed, deleted or
rewritten, a subscriber has every lifecycle event once, in order and up to the top, or it was
given the whole picture anew."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import note, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from hub.events import ZERO, Publication, seq
from hub.feed import Batch, Feed, Step
from tests.unit.feed_model import JOBS, NOW, Client, Truth

#: By what those of a lane are served is no business of the feed's.
LANE: Any = object()


class Machine(RuleBasedStateMachine):
    """Redis, a feed and its subscribers, in any order of what may happen."""

    @initialize(clients=st.integers(0, 3))
    def begin(self, clients: int) -> None:
        self.truth = Truth()
        self.feed = Feed("s")
        self.wire: list[Publication] = []
        self.clients: list[Client] = []
        if clients:
            self.feed.settle_at(self.feed.reading(), ZERO)
        for _ in range(clients):
            self.subscribe(None, None)
            while self.catch_up(self.clients[-1]):
                pass

    # -------------------------------------------------------------- what Redis does

    @rule(
        what=st.lists(
            st.tuples(
                st.sampled_from("LLLPPGGE"), st.sampled_from(JOBS), st.sampled_from([0, 50, 900])
            ),
            min_size=1,
            max_size=8,
        )
    )
    def happen(self, what: list[tuple[str, bytes, int]]) -> None:
        """Jobs go on; one that has ended makes room for the next."""
        for kind, name, size in what:
            ended = sum(over.startswith(name) for over in self.truth.over)
            job = b"%s%d.%d" % (name, self.truth.lives, ended)
            if kind == "P":
                self.wire.append(self.truth.progress(job))
            elif kind == "G":
                self.wire.append(self.truth.log(job, 1 + size % 7))
            else:
                self.wire.append(self.truth.lifecycle(job, size, kind == "E"))

    @rule(
        trouble=st.sampled_from(["trim", "rewrite", "delete", "tell", "lose"]),
        size=st.integers(1, 6),
    )
    def trouble(self, trouble: str, size: int) -> None:
        """What goes wrong in Redis, or between it and the hub."""
        truth = self.truth
        if trouble == "trim":
            del truth.entries[:-size]
        elif trouble == "lose":
            self.lose()
        elif trouble == "rewrite" and len(truth.entries) > size:
            # A failover to a stale replica: the same numbers come again, with other nonces.
            gone = {entry.key for entry in truth.entries[-size:]}
            del truth.entries[-size:]
            truth.over -= {
                key
                for key in gone
                if b"completed"
                not in b"".join(entry.body for entry in truth.entries if entry.key == key)
            }
            self.lose()
        elif trouble in ("delete", "tell"):
            truth.entries.clear()
            truth.over.clear()
            truth.revs.clear()
            truth.lines.clear()
            truth.lives += 1
            if trouble == "tell":
                self.wire.append(Publication("X", b""))
            else:
                self.lose()

    # -------------------------------------------------------------- what the network does

    def lose(self) -> None:
        """The pub/sub connection is lost, and what was on it."""
        self.flush()
        self.wire.clear()
        self.feed.deaf()
        self.lost_lines()

    def lost_lines(self) -> None:
        for client in self.clients:
            client.lossy = True

    @precondition(lambda self: self.wire)
    @rule(mishap=st.sampled_from(["drop", "double", "reorder"]), place=st.integers(0, 30))
    def mishap(self, mishap: str, place: int) -> None:
        """One publication is dropped, doubled, or overtaken by the next."""
        place %= len(self.wire)
        one = self.wire[place]
        if one.kind == "X":
            return
        if mishap == "drop":
            del self.wire[place]
            self.lost_lines()
        elif mishap == "double" and one.kind == "L":
            self.wire.append(one)
        elif mishap == "reorder" and place + 1 < len(self.wire):
            other = self.wire[place + 1]
            if one.kind == other.kind == "L":
                self.wire[place : place + 2] = [other, one]

    @rule(count=st.integers(1, 12))
    def arrive(self, count: int) -> None:
        for _ in range(min(count, len(self.wire))):
            one = self.wire.pop(0)
            if one.kind == "X":
                self.flush()
                for subscriber in self.feed.forget():
                    subscriber.outlet.gone(subscriber)
                self.clients.clear()
                continue
            self.feed.publish(one)
        self.flush()

    # -------------------------------------------------------------- what the driver does

    def flush(self) -> None:
        batch = self.feed.take()
        if batch is None:
            return
        apart = self.feed.apart
        for subscriber in list(self.feed.lane):
            subscriber.outlet.write(subscriber, batch)
            # Nothing may be unsent of those who are in it.
            del self.feed.lane[subscriber]
        for subscriber in apart:
            part = batch.only(subscriber.job)
            if part.publications and not subscriber.outlet.accepts(part.size):
                self.feed.lag(subscriber, batch)
            elif part.publications:
                subscriber.outlet.write(subscriber, part)

    @precondition(lambda self: self.clients)
    @rule(place=st.integers(0, 5))
    def board(self, place: int) -> None:
        """A client of which nothing is unsent is served together with others."""
        client = self.clients[place % len(self.clients)]
        one = client.subscriber
        if one in self.feed.live and one.job is None and not client.unsent:
            self.feed.lane[one] = LANE

    @invariant()
    def all_who_are_live_stand_where_the_feed_does(self) -> None:
        assert self.feed.lane.keys() <= self.feed.live
        for client in self.clients:
            one = client.subscriber
            if one in self.feed.live:
                assert one.state == "live"
                assert one.job is not None or client.position == self.feed.handed

    @precondition(lambda self: not self.feed.settled)
    @rule(data=st.data(), limit=st.integers(1, 10))
    def mend(self, data: st.DataObject, limit: int) -> None:
        """A read of the top or of the history; much may happen until its answer is there."""
        epoch = self.feed.reading()
        after = self.feed.top
        if after is None or data.draw(st.booleans(), "top"):
            top = self.truth.top
            self.meanwhile(data, self.feed.starts_at())
            self.feed.settle_at(epoch, top)
        else:
            history = self.truth.history(after, limit)
            self.meanwhile(data, self.feed.starts_at(history))
            self.feed.settle(epoch, history)
        self.flush()

    def meanwhile(self, data: st.DataObject, until_heard: bool) -> None:
        """`until_heard`: what had been published before has come, or will not come, when it is
        over."""
        before = {id(one) for one in self.wire}
        if data.draw(st.booleans(), "busy"):
            self.happen([(kind, JOBS[0], 5) for kind in data.draw(st.text("LPGE", max_size=4))])
        self.arrive(data.draw(st.integers(0, 8), "arriving"))
        if data.draw(st.integers(0, 9), "lost") == 9:
            self.lose()
        while until_heard and any(id(one) in before for one in self.wire):
            self.arrive(1)

    @rule()
    def check(self) -> None:
        self.flush()
        self.feed.check(self.feed.top, self.truth.top)

    @rule(
        after=st.one_of(st.none(), st.integers(0, 10), st.just(b"7-999"), st.just(ZERO)),
        job=st.sampled_from([None, None, JOBS[0]]),
    )
    def subscribe_at(self, after: Any, job: bytes | None) -> None:
        if isinstance(after, int):
            entries = self.truth.entries
            after = entries[after % len(entries)].cursor if entries else ZERO
        self.subscribe(after, job)

    def subscribe(self, after: bytes | None, job: bytes | None) -> None:
        client = Client(self.feed, after, job)
        self.clients.append(client)
        self.feed.attach(client.subscriber)

    @rule(which=st.integers(0, 5))
    def unsubscribe(self, which: int) -> None:
        if self.clients:
            client = self.clients.pop(which % len(self.clients))
            self.feed.detach(client.subscriber)

    @rule(which=st.integers(0, 5))
    def client_reads(self, which: int) -> None:
        if self.clients:
            client = self.clients[which % len(self.clients)]
            client.unsent = 0
            self.catch_up(client)

    def catch_up(self, client: Client) -> bool:
        self.flush()
        subscriber = client.subscriber
        if subscriber not in self.feed.behind:
            return False
        step = self.feed.catch_up(subscriber, NOW)
        if step is Step.PAGE:
            step = self.feed.page(subscriber, self.truth.history(subscriber.cursor, 2), NOW)
        if step is Step.HELLO and self.feed.settled:
            self.feed.start(subscriber)
            after = subscriber.after
            resumed = after is not None and (
                self.feed.resumes(after) or self.truth.history(after, 99).exact
            )
            cursor = after if resumed and after is not None else self.truth.top
            client.hello(self.truth, resumed, cursor)
            self.feed.started(subscriber, cursor)
            return True
        if isinstance(step, Batch) and step.publications:
            client.write(subscriber, step)
            return True
        return False

    # -------------------------------------------------------------- what must hold

    @invariant()
    def live_ones_are_at_the_top(self) -> None:
        if not hasattr(self, "feed"):
            return
        for subscriber in self.feed.live:
            assert subscriber.state == "live"
            assert not subscriber.progress
            assert not subscriber.gaps
        assert not self.feed.live & self.feed.behind

    def teardown(self) -> None:
        """Once everything has calmed down, every subscriber is at the top of the truth."""
        if not hasattr(self, "feed"):
            return
        self.wire.clear()
        # A client that has missed everything reads two entries of it at a time.
        for _ in range(60 + len(self.truth.entries)):
            self.flush()
            self.feed.check(self.feed.top, self.truth.top)
            while not self.feed.settled:
                self.feed.settle_at(self.feed.reading(), self.truth.top)
                if not self.feed.settled:
                    assert self.feed.top is not None
                    epoch = self.feed.reading()
                    self.feed.settle(epoch, self.truth.history(self.feed.top, 3))
                self.flush()
            moved = False
            for client in self.clients:
                client.unsent = 0
                moved = self.catch_up(client) or moved
            calm = not moved and self.feed.settled and not self.feed.behind
            if calm and self.feed.top == self.truth.top:
                break
        note(f"{self.truth.entries}")
        assert not self.feed.behind
        for client in self.clients:
            assert self.feed.cursor_of(client.subscriber) == self.truth.top
            if client.subscriber.job is None:
                assert client.position == self.truth.top
            for key, (_, last) in client.subscriber.gaps.items():
                raise AssertionError(f"never told of lines of {key!r} up to {last}")
            mine = [e for e in client.seen if e in self.truth.entries]
            assert [e.cursor for e in mine] == sorted((e.cursor for e in mine), key=seq)


def test_any_order_of_things_ends_well() -> None:
    run_state_machine_as_test(
        Machine, settings=settings(max_examples=50, stateful_step_count=40, derandomize=True)
    )


@pytest.mark.slow
def test_any_order_of_things_ends_well_at_length() -> None:
    run_state_machine_as_test(Machine, settings=settings(max_examples=400, stateful_step_count=40))
