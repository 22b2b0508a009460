"""One session that a hub follows: its feed, and what the fanout knows about it."""

from __future__ import annotations

from collections.abc import Callable

from hub import keys
from hub.events import Publication
from hub.feed import Feed
from hub.greeting import Replayable


class Followed:
    """`listening` while its channel is subscribed; `unchecked` until its top was compared with
    Redis since; `idle_since` (loop time) once nobody wants it any more."""

    __slots__ = (
        "channel",
        "feed",
        "idle_since",
        "listeners",
        "listening",
        "replayable",
        "unchecked",
    )

    def __init__(self, session_id: str) -> None:
        self.feed = Feed(session_id)
        self.channel = keys.live(session_id).encode()
        self.listening = False
        self.unchecked = True
        self.idle_since: float | None = None
        self.replayable = Replayable()
        self.listeners: list[Callable[[Publication], None]] = []

    @property
    def idle(self) -> bool:
        """Whether nobody is subscribed or listening."""
        return not (self.feed.live or self.feed.behind or self.listeners)
