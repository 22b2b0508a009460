"""Pages of histories, for those who are further behind than what a hub has in memory.

Who was cut off together comes back together, and from the same place: a page is read once, parsed
once and framed once for all of them.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final

from hub.feed.history import History
from hub.followed import Followed

#: Entries that are read at once.
PAGE: Final = 64
#: Of all that is kept, in bytes on the wire; what was asked for longest ago goes first.
KEPT: Final = 8 * 1024 * 1024

Key = tuple[Followed, bytes]


class Paging:
    """`read(session_id, after, limit)` reads a page; at most as many at one time as `gate` lets."""

    def __init__(
        self,
        read: Callable[[str, bytes, int], Awaitable[History]],
        gate: asyncio.Semaphore,
        kept: int = KEPT,
    ) -> None:
        self._read = read
        self._gate = gate
        self._most = kept
        self._reading: dict[Key, asyncio.Future[History | None]] = {}
        #: With the epoch of the feed in which each was read.
        self._kept: OrderedDict[Key, tuple[int, History]] = OrderedDict()
        self._size = 0

    async def page(self, session: Followed, after: bytes) -> History:
        """The history after a cursor: all of it, or the first `PAGE` entries. What is kept is as
        good as what is read while nobody doubts the feed. Raises what `read` raises."""
        key = (session, after)
        while True:
            if (found := self._find(key)) is not None:
                return found
            reading = self._reading.get(key)
            if reading is None:
                return await self._page(key)
            # None where it failed or its reader is gone: another one reads for those who wait.
            if (read := await asyncio.shield(reading)) is not None:
                return read

    async def _page(self, key: Key) -> History:
        session, after = key
        reading = self._reading[key] = asyncio.get_running_loop().create_future()
        found: History | None = None
        try:
            async with self._gate:
                epoch = session.feed.epoch
                found = await self._read(session.feed.session_id, after, PAGE)
            self._keep(key, epoch, found)
            return found
        finally:
            del self._reading[key]
            reading.set_result(found)

    def _find(self, key: Key) -> History | None:
        kept = self._kept.get(key)
        if kept is None:
            return None
        epoch, history = kept
        if epoch != key[0].feed.epoch or not key[0].feed.settled:
            self._drop(key)
            return None
        self._kept.move_to_end(key)
        return history

    def _keep(self, key: Key, epoch: int, history: History) -> None:
        # Where there is nothing, there may be something by now.
        if not history.entries or not history.exact or epoch != key[0].feed.epoch:
            return
        self._drop(key)
        self._kept[key] = (epoch, history)
        self._size += history.whole.size
        while self._size > self._most:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: Key) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self._size -= kept[1].whole.size
