"""What a subscriber that is behind gets at one time."""

from __future__ import annotations

from collections.abc import Iterable

from hub.events import Publication
from hub.feed.batch import OVERHEAD, ends, gap
from hub.feed.latest import Latest
from hub.feed.subscriber import Subscriber


class Portion:
    """As much as its outlet has room for; `publications` is what to hand over. What is taken moves
    the subscriber's cursor on, or its marks away. `time` (ISO 8601) is for gap markers."""

    def __init__(self, subscriber: Subscriber, session_id: str, time: str) -> None:
        self.publications: list[Publication] = []
        self._size = 0
        self._room = subscriber.outlet.room()
        self._subscriber = subscriber
        self._session_id = session_id
        self._time = time

    def take(self, missed: Iterable[Publication]) -> bool:
        """Takes lifecycle events; False when some are left."""
        subscriber = self._subscriber
        for event in missed:
            if subscriber.job is None or event.key == subscriber.job:
                # Nothing about a job follows its terminal event, so this goes before it.
                if event.key in subscriber.gaps and ends(event) and not self._take_gap(event.key):
                    return False
                if not self._add(event):
                    return False
            subscriber.cursor = event.cursor
        return True

    def take_marks(self, latest: Latest) -> bool:
        """Takes the latest progress and the gap markers; False when some are left."""
        subscriber = self._subscriber
        while subscriber.progress:
            key = next(iter(subscriber.progress))
            found = latest.get(key)
            if found is not None and not self._add(found):
                return False
            del subscriber.progress[key]
        while subscriber.gaps:
            if not self._take_gap(next(iter(subscriber.gaps))):
                return False
        return True

    def _take_gap(self, key: bytes) -> bool:
        gaps = self._subscriber.gaps
        if not self._add(gap(self._session_id, key, *gaps[key], self._time)):
            return False
        del gaps[key]
        return True

    def _add(self, publication: Publication) -> bool:
        more = self._size + len(publication.body) + OVERHEAD
        # One alone may be larger than the bound, where nothing else is unsent.
        if more > self._room and (self.publications or not self._subscriber.outlet.accepts(more)):
            return False
        self._size = more
        self.publications.append(publication)
        return True
