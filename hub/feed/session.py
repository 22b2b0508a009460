"""One session's feed: the order of what was published, and who has been handed what.

History to live as Centrifugo does it (buffer, then read, then merge), with two differences: an
event names its predecessor, so that a gap shows at once, also at the base; and a position is
trusted only while the entry *at* it is there, nonce and all.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import TYPE_CHECKING

from hub.events import ZERO, Publication, seq
from hub.feed.batch import OVERHEAD, Batch, ends
from hub.feed.history import History
from hub.feed.latest import Latest
from hub.feed.portion import Portion
from hub.feed.ring import Ring
from hub.feed.subscriber import Subscriber

if TYPE_CHECKING:
    from hub.transport.direct import Direct

#: What waits while the feed is being mended. Past that, progress and logs become marks, and
#: lifecycle events are left to the next read of the history.
HELD_BYTES = 256 * 1024


class Step(Enum):
    """What a subscriber needs before it can go on."""

    WAIT = "the feed is being mended"
    PAGE = "it is further behind than the ring: read the history after its cursor"
    HELLO = "it is starting"
    FULL = "its outlet has no room"


class Feed:
    """One session. `top` is the cursor of the last event known to be contiguous, None before the
    first look. While `settled` is False, nothing is handed out and what comes is held."""

    __slots__ = (
        "_ended",
        "_fresh",
        "_held",
        "_held_at_read",
        "_held_size",
        "_latest",
        "_ring",
        "_spilled",
        "behind",
        "epoch",
        "fresh_bytes",
        "handed",
        "lane",
        "live",
        "session_id",
        "settled",
    )

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id
        self.settled = False
        self.live: set[Subscriber] = set()
        #: Those of the live that the driver serves together, and by what.
        self.lane: dict[Subscriber, Direct] = {}
        #: Where all who are live stand: the cursor of the last lifecycle event of `take`.
        self.handed = ZERO
        self.behind: set[Subscriber] = set()
        #: Changes with every doubt: what was read under an earlier one says nothing any more.
        self.epoch = 0
        self._ring: Ring | None = None
        self._fresh: list[Publication] = []
        #: How much of it `take` would give.
        self.fresh_bytes = 0
        self._held: list[Publication] = []
        self._held_size = 0
        self._held_at_read = 0
        self._spilled = False
        #: Jobs whose end was read before it was heard: what is heard of them until then is old.
        self._ended: set[bytes] | None = None
        self._latest = Latest()

    @property
    def top(self) -> bytes | None:
        return None if self._ring is None else self._ring.top

    @property
    def subscribers(self) -> list[Subscriber]:
        return [*self.live, *self.behind]

    @property
    def apart(self) -> list[Subscriber]:
        """The live who are not served together."""
        lane = self.lane
        if len(lane) == len(self.live):
            return []
        return [subscriber for subscriber in self.live if subscriber not in lane]

    def cursor_of(self, subscriber: Subscriber) -> bytes:
        """That of the last lifecycle event that a subscriber was handed, or of its hello."""
        return self.handed if subscriber.state == "live" else subscriber.cursor

    # ------------------------------------------------------------------ who listens

    def attach(self, subscriber: Subscriber) -> None:
        """Adds a subscriber, which starts."""
        self.behind.add(subscriber)

    def detach(self, subscriber: Subscriber) -> None:
        """Removes a subscriber; a no-op when it is not there."""
        if subscriber.state == "live":
            self._leave(subscriber, self.handed)
        subscriber.state = "ended"
        self.behind.discard(subscriber)
        if not self.behind:
            self._latest.clear()

    def forget(self) -> list[Subscriber]:
        """The session was deleted: removes all subscribers and starts at its beginning again."""
        told = self.subscribers
        for subscriber in told:
            self.detach(subscriber)
        self._ring = Ring(ZERO)
        self.handed = ZERO
        self._fresh = []
        self.fresh_bytes = 0
        self._drop_held()
        self._ended = None
        self.settled = True
        self.epoch += 1
        return told

    # ------------------------------------------------------------------ what is published

    def publish(self, publication: Publication) -> None:
        """Takes what was published; `settled` is False afterwards where a gap showed."""
        if not self.settled or self._ring is None:
            self._hold(publication)
        elif publication.kind != "L":
            if self._ended is None or publication.key not in self._ended:
                self._accept(publication)
        elif publication.prev == self._ring.top:
            self._accept(publication)
            self._ended = None
        elif publication.cursor not in self._ring:
            self.doubt()
            self._hold(publication)
        elif self._ended is not None and ends(publication):
            self._ended.discard(publication.key)

    def take(self) -> Batch | None:
        """What came since the last call, for all who are live; those behind get marks of it."""
        if not self._fresh:
            return None
        assert self._ring is not None
        batch = Batch(self._fresh, after=self.handed)
        self._fresh = []
        self.fresh_bytes = 0
        self.handed = self._ring.top
        for subscriber in self.behind:
            subscriber.skip(batch.publications)
        return batch

    def lag(self, subscriber: Subscriber, batch: Batch | None = None) -> None:
        """A live subscriber's outlet has no room for this batch, the last one that was taken."""
        self._leave(subscriber, self.handed if batch is None else batch.after)
        self.behind.add(subscriber)
        subscriber.state = "lagging"
        if batch is None:
            return
        for publication in batch.publications:
            if publication.kind == "P":
                self._latest.take(publication)
            elif publication.kind == "L":
                self._latest.outdate(publication)
        subscriber.skip(batch.publications)

    def _leave(self, subscriber: Subscriber, cursor: bytes) -> None:
        """It is not live any more, and stands at this cursor."""
        self.live.discard(subscriber)
        self.lane.pop(subscriber, None)
        subscriber.cursor = cursor

    def _accept(self, publication: Publication) -> None:
        assert self._ring is not None
        if publication.kind == "L":
            self._ring.append(publication)
            self._latest.outdate(publication)
        elif publication.kind == "P" and self.behind:
            self._latest.take(publication)
        self._fresh.append(publication)
        self.fresh_bytes += len(publication.body)

    def _hold(self, publication: Publication) -> None:
        self._held_size += len(publication.body) + OVERHEAD
        if self._held_size <= HELD_BYTES:
            self._held.append(publication)
            return
        self._held_size -= len(publication.body) + OVERHEAD
        if publication.kind == "L":
            self._spilled = True
            return
        for subscriber in list(self.live):
            self.lag(subscriber)
        if publication.kind == "P":
            self._latest.take(publication)
        for subscriber in self.behind:
            subscriber.skip([publication])

    def _drop_held(self) -> None:
        self._held = []
        self._held_size = 0
        self._spilled = False

    # ------------------------------------------------------------------ doubt and mending

    def doubt(self) -> None:
        """What was published may have been missed: holds everything until `settle`."""
        if self.settled:
            self.settled = False
            self.epoch += 1

    def deaf(self) -> None:
        """The channel was lost: whatever is being read now may be older than what was missed."""
        self.settled = False
        self.epoch += 1

    def reading(self) -> int:
        """A read of the top or the history begins; returns the epoch to hand in with it."""
        self._held_at_read = len(self._held)
        self._spilled = False
        return self.epoch

    def check(self, asked: bytes | None, top: bytes) -> None:
        """Compares with a top that was read while settled; `asked` is what ours was then."""
        if not self.settled or self._ring is None or top == self._ring.top:
            return
        moved = asked != self._ring.top
        if not (moved and (top in self._ring or seq(top) < seq(self._ring.base))):
            self.doubt()

    def starts_at(self, history: History | None = None) -> bool:
        """Whether it would not go on from where it is, but start at the top that was read, or at
        that of a history. Call `settle_at` or `settle` then once everything has been heard that
        was published before the read: what is told of a job that has ended since would follow a
        hello that knows its end."""
        if self._ring is None:
            return True
        return history is not None and not history.follows(self._ring.top)

    def settle_at(self, epoch: int, top: bytes) -> None:
        """The top of the session, read while not settled. Settles where that says enough."""
        if epoch != self.epoch or self.settled:
            return
        if self._ring is None:
            self._ring = Ring(top)
            self.handed = top
        if top == self._ring.top:
            self._merge([])

    def settle(self, epoch: int, history: History) -> None:
        """The history after `top`, read while not settled. Not settled afterwards when there is
        more to read."""
        if epoch != self.epoch or self.settled or self._ring is None:
            return
        if not history.follows(self._ring.top):
            # Another past. Everybody needs a hello: at its own place, if that is still there.
            self._ring = Ring(history.top)
            for subscriber in list(self.live):
                self.lag(subscriber)
            for subscriber in self.behind:
                starting = subscriber.state == "starting"
                subscriber.restart(subscriber.after if starting else subscriber.cursor)
            self.handed = history.top
            self._ended = None
            self._merge([])
            return
        whole = not history.entries or history.entries[-1].cursor == history.top
        if whole:
            self._merge(history.entries)
        else:
            for entry in history.entries:
                self._mended(entry)

    def _mended(self, publication: Publication) -> None:
        self._accept(publication)
        if ends(publication):
            self._ended = self._ended or set()
            self._ended.add(publication.key)

    def _merge(self, entries: Sequence[Publication]) -> None:
        """Puts history and what was held into one order, and settles unless a gap remains."""
        assert self._ring is not None
        held, known, spilled = self._held, self._held_at_read, self._spilled
        self._drop_held()
        place = {entry.cursor: index for index, entry in enumerate(entries)}
        done = 0

        def replay(until: int) -> None:
            nonlocal done
            for entry in entries[done:until]:
                self._mended(entry)
            done = max(done, until)

        # First what was missed before anything that is held.
        replay(min((place[p.cursor] for p in held if p.cursor in place), default=len(entries)))
        for index, publication in enumerate(held):
            if publication.kind != "L":
                if self._ended is None or publication.key not in self._ended:
                    self._accept(publication)
            elif publication.cursor in place:
                replay(place[publication.cursor] + 1)
            elif publication.cursor not in self._ring and index >= known:
                # What was held when the read began, and is not in it, was taken back.
                replay(len(entries))
                if publication.prev == self._ring.top:
                    self._mended(publication)
                elif seq(publication.cursor) > seq(self._ring.top):
                    for rest in held[index:]:
                        self._hold(rest)
                    return
        replay(len(entries))
        if not spilled:
            self.settled = True

    # ------------------------------------------------------------------ those behind

    def resumes(self, after: bytes) -> bool:
        """Whether the ring alone can replay from a cursor. If not, the history may."""
        return self.settled and self._ring is not None and after in self._ring

    def start(self, subscriber: Subscriber) -> None:
        """The hello of a starting subscriber is being made. What was skipped before this is in
        what is read for it."""
        subscriber.again = False
        subscriber.unmark()

    def started(self, subscriber: Subscriber, cursor: bytes) -> None:
        """Its hello was handed over, at this cursor. A no-op once it was detached."""
        if subscriber not in self.behind:
            return
        # The one object that all who stand there share.
        subscriber.cursor = self.top if cursor == self.top and self.top else cursor
        subscriber.ref = None
        if not subscriber.again:
            subscriber.state = "lagging"
            subscriber.after = None
        else:
            subscriber.after = cursor

    def catch_up(self, subscriber: Subscriber, time: str) -> Batch | Step:
        """What a subscriber that is behind gets now: as much as its outlet accepts. It is live
        once it has all. Call `take` before, and hand `time` (ISO 8601) for gap markers."""
        if subscriber.state == "starting":
            return Step.HELLO if self.settled else Step.WAIT
        if not self.settled or self._ring is None or self._fresh:
            return Step.WAIT
        missed = self._ring.after(subscriber.cursor)
        if missed is None:
            return Step.PAGE
        return self._serve(subscriber, missed, time, last=True)

    def page(self, subscriber: Subscriber, history: History, time: str) -> Batch | Step:
        """The same, with the history after its cursor. It starts again where that is not exact."""
        if subscriber.state != "lagging":
            return Step.WAIT
        if not history.follows(subscriber.cursor):
            subscriber.restart(None)
            return Step.HELLO
        if history.entries:
            if subscriber.takes_all(history.whole.size):
                subscriber.cursor = history.entries[-1].cursor
                return history.whole
            return self._serve(subscriber, history.entries, time, last=False)
        # It has all that there is, and we do not.
        if self._ring is not None and subscriber.cursor not in self._ring:
            self.doubt()
        return Step.WAIT

    def _serve(
        self, subscriber: Subscriber, missed: Sequence[Publication], time: str, *, last: bool
    ) -> Batch | Step:
        portion = Portion(subscriber, self.session_id, time)
        complete = portion.take(missed) and last and portion.take_marks(self._latest)
        if complete:
            self.behind.discard(subscriber)
            self.live.add(subscriber)
            subscriber.state = "live"
            if not self.behind:
                self._latest.clear()
        elif not portion.publications:
            return Step.FULL
        return Batch(portion.publications, subscriber.cursor)
