"""How long events are kept so that those of a session go out together. No I/O.

A write costs the hub more than all else that it does with an event, so a hub with more to read than
it can write one by one joins what it reads. One that keeps up never waits."""

from __future__ import annotations

from typing import Final

#: What one turn of the event loop that wrote nothing brings where more is sure to follow.
BUSY: Final = 32
#: Bounds of what is joined: publications in all, bytes of one session, which are handed out at
#: once then, and seconds.
MOST: Final = 8_192
SESSION_BYTES: Final = 16 * 1024
PATIENCE: Final = 0.05


class Joining:
    """What has come since the last time everything was handed out. Count what comes in `came`."""

    __slots__ = ("_before", "_until", "came")

    def __init__(self) -> None:
        self.came = 0
        self._before = 0
        self._until = 0.0

    def begin(self, now: float, came: int) -> None:
        """The first of them are here, at the loop's time `now`."""
        self._before = 0
        self.came = came
        self._until = now + PATIENCE

    def waits(self, now: float) -> bool:
        """Asked in each turn: whether to see what the next turn brings."""
        brought = self.came - self._before
        self._before = self.came
        return brought >= BUSY and self.came < MOST and now < self._until
