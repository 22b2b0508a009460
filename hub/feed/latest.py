"""The latest progress of each job of a session, for subscribers that are behind."""

from __future__ import annotations

from hub.events import Publication

#: Past these bounds the oldest is forgotten: it is on the job, and every lifecycle event of the
#: job carries it.
LATEST_BYTES = 256 * 1024
LATEST_ENTRIES = 256


class Latest:
    """Progress by job, and the text so far of messages that are being written."""

    __slots__ = ("_by_key", "_size")

    def __init__(self) -> None:
        self._by_key: dict[bytes, Publication] = {}
        self._size = 0

    def get(self, key: bytes) -> Publication | None:
        """The latest of a job or message; None where something has overtaken it."""
        return self._by_key.get(key)

    def take(self, progress: Publication) -> None:
        """Takes what was published, unless it is older than what is held."""
        held = self._by_key.get(progress.key)
        if held is not None and held.rev > progress.rev:
            return
        self._drop(progress.key)
        self._by_key[progress.key] = progress
        self._size += len(progress.body)
        while self._size > LATEST_BYTES or len(self._by_key) > LATEST_ENTRIES:
            self._drop(next(iter(self._by_key)))

    def outdate(self, event: Publication) -> None:
        """Forgets what a lifecycle event has overtaken."""
        if not self._by_key:
            return
        if event.rev:
            held = self._by_key.get(event.key)
            if held is not None and held.rev <= event.rev:
                self._drop(event.key)
            return
        # A message: its header does not name it, but few are ever being written.
        for key in [key for key, held in self._by_key.items() if not held.rev]:
            if b'"message_id":"%s"' % key in event.body:
                self._drop(key)

    def clear(self) -> None:
        """Forgets everything."""
        self._by_key.clear()
        self._size = 0

    def _drop(self, key: bytes) -> None:
        held = self._by_key.pop(key, None)
        if held is not None:
            self._size -= len(held.body)
