"""One write per connection and turn of the event loop, and no turn that lasts too long."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final, Protocol

#: Writes before other things get their turn: a write takes the kernel about 5 µs.
CHUNK: Final = 256


class Writer(Protocol):
    """What has something to write."""

    def flush(self) -> None:
        """Writes it. Must not raise."""
        ...


class Turns:
    """Who has something to write, in order. What comes for a connection until its turn goes out
    in the same write, so that a busy hub joins more."""

    def __init__(self) -> None:
        self._waiting: deque[Writer] = deque()
        self._scheduled = False

    def add(self, writer: Writer) -> None:
        """Has `flush` called soon. Add it once until then."""
        self._waiting.append(writer)
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        waiting = self._waiting
        try:
            for _ in range(min(CHUNK, len(waiting))):
                waiting.popleft().flush()
        finally:
            self._scheduled = bool(waiting)
            if waiting:
                asyncio.get_running_loop().call_soon(self._turn)
