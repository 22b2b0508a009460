"""The last few lifecycle events of a session, and where in them a cursor is."""

from __future__ import annotations

from collections.abc import Sequence

from hub.events import Publication

#: What a feed keeps in memory. Whoever is further behind reads Redis.
RING_ENTRIES = 64
RING_BYTES = 64 * 1024


class Ring:
    """A contiguous run of lifecycle events that starts after `base` and ends at `top`.

    Bounded by number and bytes; the oldest go first, and the newest always stays."""

    __slots__ = ("_at", "_entries", "_size", "_start", "base", "top")

    def __init__(self, top: bytes) -> None:
        self.base = top
        self.top = top
        # A list, not a deque: most rings are empty, and an empty deque has 760 bytes.
        self._entries: list[Publication] = []
        self._size = 0
        self._start = 0  # the place of `base`; places only grow
        self._at: dict[bytes, int] = {top: 0}

    def __contains__(self, cursor: bytes) -> bool:
        return cursor in self._at

    def append(self, publication: Publication) -> None:
        """Adds the event after `top`. Raises ValueError when it is not that."""
        if publication.prev != self.top:
            raise ValueError(
                f"{publication.cursor!r} follows {publication.prev!r}, not {self.top!r}"
            )
        self._entries.append(publication)
        self._size += len(publication.body)
        self.top = publication.cursor
        self._at[self.top] = self._start + len(self._entries)
        while len(self._entries) > RING_ENTRIES or (
            self._size > RING_BYTES and len(self._entries) > 1
        ):
            oldest = self._entries.pop(0)
            self._size -= len(oldest.body)
            del self._at[self.base]
            self.base = oldest.cursor
            self._start += 1

    def after(self, cursor: bytes) -> Sequence[Publication] | None:
        """The events after a cursor; None when it is not in the ring."""
        place = self._at.get(cursor)
        if place is None:
            return None
        return self._entries[place - self._start :]
