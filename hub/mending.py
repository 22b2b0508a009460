"""What brings feeds back to order after something that was published may have been missed."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import Final, Protocol

from redis.exceptions import RedisError

from hub.feed.history import History
from hub.followed import Followed
from hub.store import Store
from hub.supervisor import apart, raise_if_cancelled

log = logging.getLogger("jobcast.fanout")

#: Sessions whose tops are read in one round trip.
TOPS: Final = 500
#: Entries of its history that are read at once for a feed, and feeds that are mended side by side.
PAGE: Final = 256
SIDE_BY_SIDE: Final = 16
FIRST_WAIT: Final = 0.05
LONGEST_WAIT: Final = 2.0
#: Seconds that a feed which starts waits for what was published before.
HEARD_WITHIN: Final = 2.0


class Owner(Protocol):
    """Who hands out what feeds have."""

    def flush(self, session: Followed) -> None:
        """Hands out what is fresh."""
        ...

    def mended(self, session: Followed) -> None:
        """Its feed is settled again."""
        ...

    async def heard_all(self, most: float) -> None:
        """Returns once everything has been heard that was published before; see `Checker`."""
        ...


class Mender:
    """Settles the feeds of sessions that it is told of. `counts["mended"]` counts them."""

    def __init__(self, store: Store, owner: Owner, counts: Counter[str]) -> None:
        self._store = store
        self._owner = owner
        self._counts = counts
        self._troubled: dict[Followed, None] = {}
        self._trouble = asyncio.Event()

    def soon(self, session: Followed) -> None:
        """Mends a session's feed, unless its channel is not even subscribed."""
        if session.listening:
            self._troubled[session] = None
            self._trouble.set()

    async def run(self) -> None:
        """Mends until cancelled. What Redis does not answer is tried again."""
        wait = FIRST_WAIT
        while True:
            await self._trouble.wait()
            self._trouble.clear()
            todo = [s for s in self._troubled if s.listening and not s.feed.settled]
            self._troubled.clear()
            try:
                await apart(self._mend(todo))
                wait = FIRST_WAIT
            except* (RedisError, OSError) as group:
                log.warning("cannot mend feeds: %s", group.exceptions[0])
                await asyncio.sleep(wait)
                wait = min(2 * wait, LONGEST_WAIT)
            raise_if_cancelled()
            for session in todo:
                if session.feed.settled:
                    self._owner.mended(session)
                else:
                    self.soon(session)

    async def _mend(self, sessions: list[Followed]) -> None:
        await self._look_at_tops([s for s in sessions if s.unchecked])
        rest = [s for s in sessions if s.listening and not s.feed.settled]
        for start in range(0, len(rest), SIDE_BY_SIDE):
            async with asyncio.TaskGroup() as tasks:
                for session in rest[start : start + SIDE_BY_SIDE]:
                    tasks.create_task(self._read_history(session))

    async def history(self, session_id: str, after: bytes, limit: int) -> History:
        """The history after a cursor; one that is not exact where it cannot be read."""
        try:
            return await self._store.history(session_id, after, limit)
        except (ValueError, KeyError):
            # Somebody else wrote to the stream. It must not keep other sessions from being mended.
            log.exception("the events of session %s cannot be read", session_id)
            return History(False, [], await self._store.top(session_id))

    async def _look_at_tops(self, sessions: list[Followed]) -> None:
        for start in range(0, len(sessions), TOPS):
            chunk = sessions[start : start + TOPS]
            epochs = [session.feed.reading() for session in chunk]
            tops = await self._store.tops([session.feed.session_id for session in chunk])
            if any(session.feed.starts_at() for session in chunk):
                await self._owner.heard_all(HEARD_WITHIN)
            for session, epoch, top in zip(chunk, epochs, tops, strict=True):
                if epoch == session.feed.epoch:
                    session.unchecked = False
                    session.feed.settle_at(epoch, top)
                    self._owner.flush(session)

    async def _read_history(self, session: Followed) -> None:
        feed = session.feed
        if feed.top is None:
            return
        epoch = feed.reading()
        history = await self.history(feed.session_id, feed.top, PAGE)
        if feed.starts_at(history):
            await self._owner.heard_all(HEARD_WITHIN)
        feed.settle(epoch, history)
        self._counts["mended"] += feed.settled
        self._owner.flush(session)
