"""What carries a stream's bytes to its client, and the one that works with every ASGI server.

The other one, for WebSockets under uvicorn, is `hub.transport.wire`.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol

from hub.feed import Batch

log = logging.getLogger("jobcast.streams")


class Disconnected(Exception):
    """The client is gone."""


class Pipe(Protocol):
    """One connection's way out. No call blocks or raises; order is kept."""

    @property
    def unsent(self) -> int:
        """About how many bytes have not been sent."""
        ...

    def text(self, body: bytes) -> None:
        """Sends one frame's JSON."""
        ...

    def batch(self, batch: Batch) -> None:
        """Sends a batch, sharing its bytes."""
        ...

    def tell_drained(self) -> None:
        """Asks for one call of the stream's `drained`, once nothing is unsent."""
        ...

    def forget(self) -> None:
        """Drops what is unsent, as far as that can be."""
        ...

    def end(self, code: int, reason: str) -> None:
        """Ends the connection, after what is unsent."""
        ...

    def cut(self) -> None:
        """Ends it at once."""
        ...

    def stalled(self, now: float) -> float:
        """For how many seconds something has been unsent without any progress, at the loop's
        time `now`."""
        ...

    def tick(self, now: float) -> None:
        """Called every second or so while the stream is open."""
        ...


class Owner(Protocol):
    """Whom a pipe tells."""

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Runs something in a task that somebody owns."""
        ...

    def drained(self) -> None:
        """Nothing is unsent any more."""
        ...

    def leaving(self) -> None:
        """Nothing more can be sent."""
        ...

    def ended(self) -> None:
        """The connection is gone."""
        ...


class QueuedPipe(ABC):
    """Awaits an ASGI server's `send`, item by item; a task lives only while something waits.

    How much waits is for the stream to bound: it asks for `unsent` before it hands over more."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._size = 0
        self._pending: deque[tuple[int, Any]] = deque()
        self._sender: asyncio.Task[None] | None = None
        self._main: asyncio.Task[Any] | None = None
        self._end: tuple[int, str] | None = None
        self._sending = False
        self._progress_at = 0.0
        self._tell = False
        self._room = asyncio.Event()
        self._cut = False
        self._gone = False

    # ------------------------------------------------------------------ for subclasses

    @abstractmethod
    async def _send(self, item: Any) -> None:
        """Sends one thing that was `put`. Raises Disconnected."""

    @abstractmethod
    async def _finish(self, code: int, reason: str) -> None:
        """Tells the client that this is the end. Raises Disconnected."""

    def put(self, size: int, item: object) -> None:
        """Sends something after what is unsent."""
        self._pending.append((size, item))
        self._size += size
        self._wake()

    def progressed(self) -> None:
        """Something was sent: the client is not stuck."""
        self._progress_at = asyncio.get_running_loop().time()

    # ------------------------------------------------------------------ life

    async def serve(
        self, begin: Callable[[], None], receive: Callable[[], Awaitable[None]]
    ) -> None:
        """Serves the client until `receive` returns, which it does once the client is gone, or
        until the connection is cut."""
        self._main = asyncio.current_task()
        try:
            begin()
            await receive()
        except asyncio.CancelledError:
            if not self._cut or self._main is None or self._main.uncancel() > 0:
                raise
        finally:
            self._main = None
            self._owner.ended()
            if self._sender is not None:
                self._sender.cancel()
                await asyncio.gather(self._sender, return_exceptions=True)

    def end(self, code: int, reason: str) -> None:
        if self._end is None:
            self._end = (code, reason)
            self._room.set()
            self._wake()

    def cut(self) -> None:
        if self._main is not None and not self._cut:
            self._cut = True
            self._main.cancel()

    # ------------------------------------------------------------------ out

    @property
    def unsent(self) -> int:
        return self._size

    def tell_drained(self) -> None:
        self._tell = True

    def forget(self) -> None:
        self._size -= sum(size for size, _ in self._pending)
        self._pending.clear()

    async def writable(self, bound: int) -> None:
        """Returns once no more than so many bytes are unsent: whoever answers what a client sends
        waits here, so that a client that does not read is not read from either."""
        while self._size > bound and self._end is None and not self._gone:
            self._room.clear()
            await self._room.wait()

    def stalled(self, now: float) -> float:
        return now - self._progress_at if self._sending else 0.0

    def tick(self, now: float) -> None:
        """Does nothing: pings are the server's business."""
        del now

    def _lost(self) -> None:
        self._gone = True
        self._room.set()
        self._owner.leaving()

    def _wake(self) -> None:
        if self._sender is None and self._main is not None:
            self._sender = self._owner.start(self._send_all())

    async def _send_all(self) -> None:
        try:
            while self._pending:
                size, item = self._pending.popleft()
                self._sending = True
                self.progressed()
                await self._send(item)
                self._sending = False
                self._size -= size
                self._room.set()
            if self._end is not None:
                await self._finish(*self._end)
            elif self._tell:
                self._tell = False
                self._owner.drained()
        except Disconnected:
            # The server tells whoever receives as well.
            self._lost()
        except Exception:
            log.exception("cannot send to a client")
            self._lost()
            self.cut()
        finally:
            self._sending = False
            self._sender = None
