"""A session's stream as Redis has it, and a client of it."""

from __future__ import annotations

from hub.events import ZERO, Publication, seq
from hub.feed import Batch, Feed, Subscriber
from hub.feed.history import History

JOBS = [b"job-a", b"job-b", b"job-c"]
NOW = "2026-01-01T00:00:00.000Z"
BOUND = 2_000


class Truth:
    """A session's stream as Redis has it."""

    def __init__(self) -> None:
        self.entries: list[Publication] = []
        self.nonce = 0
        self.revs: dict[bytes, int] = {}
        self.lines: dict[bytes, int] = {}
        self.over: set[bytes] = set()
        self.lives = 0

    @property
    def top(self) -> bytes:
        return self.entries[-1].cursor if self.entries else ZERO

    def lifecycle(self, job: bytes, size: int, end: bool) -> Publication:
        self.nonce += 1
        prev = self.top
        cursor = b"%d-%d" % (seq(prev) + 1, self.nonce)
        rev = self.revs[job] = self.revs.get(job, 0) + 1
        kind = b"job.completed" if end else b"job.running"
        body = b'{"id":"%s","type":"%s","pad":"%s"}' % (cursor, kind, b"x" * size)
        made = Publication("L", body, cursor=cursor, prev=prev, key=job, rev=rev)
        self.entries.append(made)
        if end:
            self.over.add(job)
        return made

    def progress(self, job: bytes) -> Publication:
        rev = self.revs[job] = self.revs.get(job, 0) + 1
        return Publication("P", b'{"type":"job.progress","rev":%d}' % rev, key=job, rev=rev)

    def log(self, job: bytes, count: int) -> Publication:
        first = self.lines.get(job, 0) + 1
        self.lines[job] = first + count - 1
        body = b'{"type":"job.log","line":%d}' % first
        return Publication("G", body, key=job, first=first, last=self.lines[job])

    def history(self, after: bytes, limit: int) -> History:
        if after == ZERO:
            exact = not self.entries or self.entries[0].prev == ZERO
            rest = self.entries
        else:
            places = [i for i, entry in enumerate(self.entries) if entry.cursor == after]
            exact = bool(places)
            rest = self.entries[places[0] + 1 :] if places else []
        return History(exact, list(rest[:limit]) if exact else [], self.top)


class Client:
    """A subscriber's outlet, and what a client makes of what it is sent. `capacity` bytes fit
    until it reads."""

    def __init__(self, feed: Feed, after: bytes | None, job: bytes | None) -> None:
        self.feed = feed
        self.unsent = 0
        self.seen: list[Publication] = []
        self.position = b""
        self.deleted = False
        self.progress: dict[bytes, int] = {}
        self.told_lines: dict[bytes, int] = {}
        self.over: set[bytes] = set()
        self.subscriber = Subscriber("s", self, after=after, job=job)

    def accepts(self, size: int) -> bool:
        return not self.unsent or self.unsent + size <= BOUND

    def room(self) -> int:
        return BOUND - self.unsent

    def write(self, subscriber: Subscriber, batch: Batch) -> None:
        self.unsent += batch.size
        assert self.unsent <= BOUND or len(batch.publications) == 1 or self.unsent == batch.size
        for publication in batch.publications:
            self.take(publication)

    def take(self, publication: Publication) -> None:
        if self.subscriber.job is not None:
            assert publication.key == self.subscriber.job
        if publication.kind != "P" or publication.rev > self.progress.get(publication.key, 0):
            assert publication.key not in self.over, "something followed a terminal event"
        if publication.kind == "L":
            if self.subscriber.job is None:
                assert publication.prev == self.position, (publication, self.position)
            assert publication.cursor not in {one.cursor for one in self.seen}, "doubled"
            self.seen.append(publication)
            self.position = publication.cursor
            self.progress[publication.key] = publication.rev
            if b'"job.completed"' in publication.body:
                self.over.add(publication.key)
        elif publication.kind == "P":
            self.progress[publication.key] = max(
                publication.rev, self.progress.get(publication.key, 0)
            )
        elif publication.kind == "G":
            line = self.told_lines.get(publication.key)
            if line is not None:
                assert publication.first <= line + 1 or self.lossy, "lines vanished in silence"
            self.told_lines[publication.key] = max(publication.last, line or 0)

    lossy = False

    def greet(self, subscriber: Subscriber, hello: bytes, cursor: bytes, over: bool) -> None:
        raise AssertionError("the test greets by `hello`")

    def hello(self, truth: Truth, resumed: bool, cursor: bytes) -> None:
        if not resumed:
            self.seen.clear()
            self.over = set(truth.over)
            self.progress = dict(truth.revs)
        self.position = cursor

    def kick(self) -> None: ...

    def gone(self, subscriber: Subscriber) -> None:
        self.deleted = True
