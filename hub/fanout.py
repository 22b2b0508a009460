"""From Redis to subscribers: feeds, what mends them, and what brings those behind up to date."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from hub.channels import Channels
from hub.checking import Checker
from hub.errors import TooMany
from hub.events import Publication, parse
from hub.feed import Batch, Feed, Step, Subscriber
from hub.flow import Flow
from hub.followed import Followed
from hub.greeting import greeting
from hub.jobs import iso
from hub.joining import SESSION_BYTES, Joining
from hub.mending import Mender
from hub.paging import Paging
from hub.store import Store
from hub.transport.direct import write_all
from hub.transport.turns import CHUNK
from hub.transport.wire import Wire

log = logging.getLogger("jobcast.fanout")

#: Reads for subscribers that start or are far behind, at one time: more would only wait for
#: connections to Redis, and each holds a page in memory.
READS: Final = 24
RECONNECT_AFTER: Final = 5.0


class Fanout:
    """All sessions that somebody is subscribed to in this hub.

    `limit` subscribers a session at most. The tops of all of them are compared with Redis every
    `check_every` seconds, which bounds for how long a last event may be late after a lost
    publication. A session stays subscribed for `linger` seconds after its last subscriber."""

    def __init__(
        self,
        redis: Redis,
        store: Store,
        *,
        limit: int = 100,
        check_every: float = 3.0,
        linger: float = 1.0,
    ) -> None:
        self._store = store
        self._limit = limit
        self._linger = linger
        self._gate = asyncio.Semaphore(READS)
        self._sessions: dict[str, Followed] = {}
        self._by_channel: dict[bytes, Followed] = {}
        self._channels = Channels(redis, self)
        self._dirty: dict[Followed, None] = {}
        self._joining = Joining()
        #: How many of them are being handed out before what comes meanwhile.
        self._passing = 0
        #: What happened so far: lagged, mended, reconnects.
        self.counts: Counter[str] = Counter()
        self._mender = Mender(store, self, self.counts)
        self._paging = Paging(self._mender.history, self._gate)
        self.flow = Flow()
        self._checker = Checker(
            redis,
            store,
            self._channels,
            self._mender,
            self.flow,
            self,
            self._sessions,
            check_every,
        )

    # ------------------------------------------------------------------ for the doors

    @property
    def healthy(self) -> bool:
        """Whether a probe went through Redis and back lately."""
        return self._checker.healthy

    @property
    def sessions(self) -> int:
        """How many sessions are followed."""
        return len(self._sessions)

    @property
    def subscribers(self) -> int:
        """How many subscribers there are."""
        return sum(len(s.feed.live) + len(s.feed.behind) for s in self._sessions.values())

    def now(self) -> str:
        """The time by Redis's clock, ISO 8601."""
        return iso(time.time_ns() // 1_000_000 + self._checker.offset_ms)

    def name_of(self, session_id: str) -> str:
        """The same id: the one object that all who follow the session share, if there is one."""
        session = self._sessions.get(session_id)
        return session_id if session is None else session.feed.session_id

    def cursor_of(self, subscriber: Subscriber) -> bytes:
        """That of the last lifecycle event that a subscriber was handed, or of its hello."""
        session = self._sessions.get(subscriber.session_id)
        return subscriber.cursor if session is None else session.feed.cursor_of(subscriber)

    def board(self, subscriber: Subscriber, wire: Wire) -> None:
        """Its outlet is a wire that is free, and of this subscriber alone. While both last, it is
        served in the loop that serves all such."""
        session = self._sessions.get(subscriber.session_id)
        if session is not None and subscriber in session.feed.live and subscriber.job is None:
            wire.board(session.feed.lane, subscriber)

    def subscribe(self, subscriber: Subscriber) -> None:
        """Adds a subscriber. Its outlet is kicked once `catch_up` can greet it.

        Raises TooMany when the session has as many as it may have."""
        session = self._open(subscriber.session_id)
        if len(session.feed.live) + len(session.feed.behind) >= self._limit:
            raise TooMany(f"The session has {self._limit} connections already.", RECONNECT_AFTER)
        session.feed.attach(subscriber)
        if session.feed.settled:
            subscriber.outlet.kick()

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """Removes a subscriber; a no-op when it was removed before."""
        session = self._sessions.get(subscriber.session_id)
        if session is not None:
            session.feed.detach(subscriber)
        subscriber.state = "ended"

    @asynccontextmanager
    async def listening(
        self, session_id: str, heard: Callable[[Publication], None]
    ) -> AsyncIterator[None]:
        """Calls `heard` with everything that is published about a session, and with an X when it
        is deleted or when something may have been missed, as at the beginning. It must not
        block. Read the state after entering: no change from then on is missed."""
        session = self._open(session_id)
        session.listeners.append(heard)
        try:
            yield
        finally:
            session.listeners.remove(heard)

    async def catch_up(self, subscriber: Subscriber) -> bool:
        """Hands a subscriber that is behind what its outlet accepts now. False when there was
        nothing to hand over: its outlet is kicked when that changes. One call at a time for
        each outlet."""
        session = self._sessions.get(subscriber.session_id)
        if session is None or subscriber not in session.feed.behind:
            return False
        feed = session.feed
        self.flush(session)
        try:
            step = feed.catch_up(subscriber, self.now())
            if step is Step.PAGE:
                history = await self._paging.page(session, subscriber.cursor)
                step = feed.page(subscriber, history, self.now())
                if not feed.settled:
                    self._mender.soon(session)
            if step is Step.HELLO:
                async with self._gate:
                    return await self._greet(session, subscriber)
        except (RedisError, OSError) as error:
            # The next check kicks whoever is behind.
            log.warning("cannot bring a subscriber up to date: %s", error)
            return False
        if isinstance(step, Batch) and step.publications:
            subscriber.outlet.write(subscriber, step)
            self.flow.sent(step)
            return True
        return False

    async def _greet(self, session: Followed, subscriber: Subscriber) -> bool:
        feed = session.feed
        if not feed.settled or subscriber not in feed.behind:
            return False
        feed.start(subscriber)
        after = subscriber.after
        hello = await greeting(self._store, feed, subscriber, self.now, session.replayable)
        if subscriber not in feed.behind:
            return False
        if hello is None:
            feed.detach(subscriber)
            subscriber.outlet.gone(subscriber)
            return True
        self.flow.greeted(after, hello.resumed)
        subscriber.outlet.greet(subscriber, hello.body, hello.cursor, hello.over)
        feed.started(subscriber, hello.cursor)
        return True

    def _open(self, session_id: str) -> Followed:
        session = self._sessions.get(session_id)
        if session is None:
            session = self._sessions[session_id] = Followed(session_id)
            self._by_channel[session.channel] = session
            self._channels.add(session.channel)
        session.idle_since = None
        return session

    # ------------------------------------------------------------------ what Redis publishes

    def published(self, channel: bytes, data: bytes) -> None:
        """A publication (called by `Channels`)."""
        session = self._by_channel.get(channel)
        if session is None:
            probe = self._checker.probe
            if channel == probe.channel:
                self.flow.probes.observe(probe.heard(data))
            return
        try:
            publication = parse(data)
        except ValueError as error:
            log.warning("on %s: %s", channel.decode(), error)
            return
        self.flow.received[publication.kind] += 1
        if self.flow.sample:
            self.flow.measure(publication, self._checker.offset_ms)
        if publication.kind == "X":
            self._deleted(session, publication)
            return
        feed = session.feed
        feed.publish(publication)
        if not feed.settled:
            self._mender.soon(session)
            return
        if feed.fresh_bytes > SESSION_BYTES:
            self.flush(session)
            return
        self._joining.came += 1
        if session not in self._dirty:
            if not self._dirty:
                loop = asyncio.get_running_loop()
                self._joining.begin(loop.time(), 1)
                loop.call_soon(self._flush_all)
            self._dirty[session] = None

    def subscribed(self, channel: bytes) -> None:
        """A channel is subscribed (called by `Channels`)."""
        if channel == self._checker.probe.channel:
            self._checker.soon()
            return
        session = self._by_channel.get(channel)
        if session is not None:
            session.listening = True
            self._mender.soon(session)

    def deaf(self) -> None:
        """The pub/sub connection is lost (called by `Channels`)."""
        self.counts["reconnects"] += 1
        self._checker.probe.forget()
        for session in self._sessions.values():
            self.flush(session)
            session.listening = False
            session.unchecked = True
            session.feed.deaf()

    def _flush_all(self) -> None:
        # Called in each turn while there is something, once all that one read brought was taken.
        loop = asyncio.get_running_loop()
        if not self._passing and not self._joining.waits(loop.time()):
            self._passing = len(self._dirty)
        writes = 0
        while self._passing and self._dirty and writes < CHUNK:
            session = next(iter(self._dirty))
            self._passing -= 1
            writes += 1 + len(session.feed.live)
            self.flush(session)
        if self._dirty:
            if writes and not self._passing:
                self._joining.begin(loop.time(), len(self._dirty))
            loop.call_soon(self._flush_all)
        else:
            self._passing = 0

    def flush(self, session: Followed) -> None:
        """Hands out what a session's feed has fresh."""
        self._dirty.pop(session, None)
        feed = session.feed
        batch = feed.take()
        if batch is None:
            return
        if feed.behind:
            self.flow.missed(batch, feed.behind)
        lane, apart = feed.lane, feed.apart
        if lane:
            write_all(lane.values(), batch.frames)
            self.flow.sent(batch, len(lane))
        for subscriber in apart:
            part = batch if subscriber.job is None else batch.only(subscriber.job)
            if not part.publications:
                continue
            if subscriber.outlet.accepts(part.size):
                subscriber.outlet.write(subscriber, part)
                self.flow.sent(part)
            else:
                self._lag(feed, subscriber, batch)
        if session.listeners:
            self._tell(session, batch.publications)

    def _lag(self, feed: Feed, subscriber: Subscriber, batch: Batch) -> None:
        self.counts["lagged"] += 1
        feed.lag(subscriber, batch)
        self.flow.missed(batch, (subscriber,))

    def _tell(self, session: Followed, publications: Iterable[Publication]) -> None:
        for heard in list(session.listeners):
            for publication in publications:
                heard(publication)

    def _deleted(self, session: Followed, publication: Publication) -> None:
        self.flush(session)
        for subscriber in session.feed.forget():
            subscriber.outlet.gone(subscriber)
        self._tell(session, [publication])

    # ------------------------------------------------------------------ tasks

    async def run(self) -> None:
        """Listens, mends, checks and tidies until cancelled. Outages of Redis are waited out:
        subscribers stay, and are brought up to date afterwards."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._channels.run())
            tasks.create_task(self._mender.run())
            tasks.create_task(self._checker.run())
            tasks.create_task(self._tidy())

    def mended(self, session: Followed) -> None:
        """A feed is settled again (called by `Mender`)."""
        self.kick(session)
        self._tell(session, [Publication("X", b"")])

    async def heard_all(self, most: float) -> None:
        """See `Checker` (called by `Mender`)."""
        await self._checker.heard_all(most)

    def kick(self, session: Followed) -> None:
        """Those behind may be able to go on."""
        for subscriber in session.feed.behind:
            subscriber.outlet.kick()

    async def _tidy(self) -> None:
        while True:
            await asyncio.sleep(self._linger)
            now = asyncio.get_running_loop().time()
            for session_id, session in list(self._sessions.items()):
                if not session.idle:
                    session.idle_since = None
                elif session.idle_since is None:
                    session.idle_since = now
                elif session.listening and now - session.idle_since >= self._linger:
                    # Late, so that a client that comes and goes costs Redis nothing.
                    self._channels.remove(session.channel)
                    del self._sessions[session_id], self._by_channel[session.channel]
