"""What was read of a session's stream at one time."""

from __future__ import annotations

from collections.abc import Sequence

from hub.events import Publication
from hub.feed.batch import Batch


class History:
    """A session's lifecycle entries after a cursor, the first of them: the last one is at `top`
    unless there are more. `exact` is False when the entry at the cursor is no longer there, so
    that nothing can be said about what was missed."""

    __slots__ = ("_whole", "entries", "exact", "top")

    def __init__(self, exact: bool, entries: list[Publication], top: bytes) -> None:
        self.exact = exact
        self.entries = entries
        self.top = top
        self._whole: Batch | None = None

    @property
    def whole(self) -> Batch:
        """All the entries, for as many as get all of them."""
        if self._whole is None:
            self._whole = Batch(self.entries)
        return self._whole

    def follows(self, cursor: bytes) -> bool:
        """Whether it goes on from a cursor, without a gap."""
        return self.exact and contiguous(cursor, self.entries)


def contiguous(after: bytes, entries: Sequence[Publication]) -> bool:
    """Whether each entry names the one before it, the first one `after`."""
    for entry in entries:
        if entry.prev != after:
            return False
        after = entry.cursor
    return True
