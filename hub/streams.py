"""What a WebSocket and an SSE stream have in common: one bounded way out, and an end.

There is no queue and no task for each connection beyond the server's own: what is published is
shared bytes, and a flusher lives only while something is unsent or a subscription is behind.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Any, ClassVar, Final

import msgspec

from hub import codes
from hub.auth import LEEWAY, Principal
from hub.fanout import Fanout
from hub.feed import Batch, Subscriber
from hub.settings import Settings

log = logging.getLogger("jobcast.streams")

#: Seconds between being told to close and being cut off.
CLOSE_GRACE: Final = 10.0
#: Streams that are looked at before other tasks get a turn.
SWEEP_CHUNK: Final = 500
#: A drain asks clients to come back at this many a second, and none later than the cap.
RETURN_RATE: Final = 500
RETURN_CAP: Final = 20.0

encode: Final = msgspec.json.encode


class Disconnected(Exception):
    """The client is gone."""


class Stream:
    """One connection to a client. Subclasses send and end it.

    At most `unsent_bytes` wait to be sent, beside one hello and answers to commands; then its
    subscriptions lag, each by a cursor. Without any progress for `stall_close` seconds it is
    closed with 4008. `heartbeat` is in seconds."""

    def __init__(self, streams: Streams, heartbeat: float) -> None:
        self.streams = streams
        self.fanout: Fanout = streams.fanout
        self.settings: Settings = streams.settings
        self.subscribers: dict[str, Subscriber] = {}
        self.principal: Principal | None = None
        self.unsent = 0
        #: The code that it is being closed with; 0 for an end without one.
        self.closing: int | None = None
        self._heartbeat = heartbeat
        self._beat_at = 0.0
        self._beat: object = None
        self._pending: deque[tuple[int, Any]] = deque()
        self._flusher: asyncio.Task[None] | None = None
        self._kicked = False
        self._drained = asyncio.Event()
        self._sending = False
        self._progress_at = 0.0
        self._expires_at: float | None = None
        self._cut_at = 0.0
        self._main: asyncio.Task[Any] | None = None
        self._cut = False

    # ------------------------------------------------------------------ for subclasses

    async def _send(self, item: Any) -> None:
        """Sends one thing that was `put`, or a Batch. Raises Disconnected."""
        raise NotImplementedError

    async def _end(self) -> None:
        """Tells the client that this is the end (`closing` says why)."""
        raise NotImplementedError

    async def _receive(self) -> None:
        """Reads what the client sends until it is gone."""
        raise NotImplementedError

    def _frame(self, body: bytes) -> Any:
        """A frame's JSON as what `_send` takes."""
        raise NotImplementedError

    # ------------------------------------------------------------------ life

    async def run(self, begin: Callable[[], None]) -> None:
        """Serves the client until it is gone or closed."""
        loop = asyncio.get_running_loop()
        self._main = asyncio.current_task()
        self._beat_at = loop.time() + self._heartbeat
        self.streams.add(self)
        try:
            begin()
            await self._receive()
        except Disconnected:
            pass
        except asyncio.CancelledError:
            if not self._cut or self._main is None or self._main.uncancel() > 0:
                raise
        finally:
            self._main = None
            self.streams.discard(self)
            self._detach()
            if self._flusher is not None:
                self._flusher.cancel()
                await asyncio.gather(self._flusher, return_exceptions=True)

    def admit(self, principal: Principal, now: float) -> None:
        """Takes a credential, which may have been renewed. `now` is in seconds since the epoch."""
        self.principal = principal
        self._expires_at = principal.expires_at
        if self._expires_at is not None and self._expires_at <= now:
            # It was taken within the leeway for clocks that differ, so it ends with that.
            self._expires_at += LEEWAY

    def close(self, code: int, reconnect_after: float | None = None) -> None:
        """Ends it: what is unsent first (unless it is too slow for that), then `goodbye` where
        the client should come back, then the end. A no-op when it is closing already."""
        if self.closing is not None:
            return
        self.closing = code
        self.streams.ending(self, code)
        self._cut_at = asyncio.get_running_loop().time() + CLOSE_GRACE
        self._drained.set()
        self._detach()
        if code == codes.TOO_SLOW:
            self._pending.clear()
        if code and (codes.comes_back(code) or self.says_goodbye):
            after = reconnect_after
            if after is None and codes.comes_back(code):
                after = round(random.uniform(0.1, 1.0), 3)
            self.put({"type": "goodbye", "code": code, "reconnect_after": after})
        self.kick()

    #: What it is called in metrics.
    kind: ClassVar[str] = "websocket"
    #: Whether a goodbye is all that says why it ends.
    says_goodbye = False

    def tick(self, now: float, wall: float) -> None:
        """Called every second or so: `now` is the loop's time, `wall` seconds since the epoch."""
        if self.closing is not None:
            if now >= self._cut_at and self._main is not None and not self._cut:
                self._cut = True
                self._main.cancel()
        elif self._sending and now - self._progress_at > self.settings.stall_close:
            self.close(codes.TOO_SLOW)
        elif self._expires_at is not None and wall >= self._expires_at:
            self.close(codes.UNAUTHENTICATED)
        elif now >= self._beat_at:
            self._beat_at = now + self._heartbeat
            # One at a time: a second one would tell a slow client nothing more.
            if self.principal is not None and self._beat is None:
                self._beat = self.put(self._heartbeat_frame())

    def _heartbeat_frame(self) -> dict[str, Any]:
        # Made now and sent after what is unsent: it covers no more than what goes before it.
        return {
            "type": "heartbeat",
            "cursors": {
                session_id: subscriber.cursor.decode()
                for session_id, subscriber in self.subscribers.items()
                if subscriber.state != "starting"
            },
            "time": self.fanout.now(),
        }

    def _detach(self) -> None:
        for subscriber in self.subscribers.values():
            self.fanout.unsubscribe(subscriber)
        self.subscribers.clear()

    # ------------------------------------------------------------------ the way out

    def put(self, frame: dict[str, Any]) -> object:
        """Sends an answer or another small frame, after what is unsent."""
        body = encode(frame)
        return self._append(len(body), self._frame(body))

    def _append(self, size: int, item: object) -> object:
        self._pending.append((size, item))
        self.unsent += size
        self.kick()
        return item

    def progressed(self) -> None:
        """Something was sent: the client is not stuck."""
        self._progress_at = asyncio.get_running_loop().time()

    async def writable(self) -> None:
        """Returns once no more than the bound is unsent: whoever answers what a client sends
        waits here, so that a client that does not read is not read from either."""
        while self.unsent > self.settings.unsent_bytes and self.closing is None:
            self._drained.clear()
            await self._drained.wait()

    def accepts(self, size: int) -> bool:
        return not self.unsent or self.unsent + size <= self.settings.unsent_bytes

    def room(self) -> int:
        return self.settings.unsent_bytes - self.unsent

    def write(self, subscriber: Subscriber, batch: Batch) -> None:
        self._append(batch.size, batch)

    def greet(self, subscriber: Subscriber, hello: bytes, cursor: bytes, over: bool) -> None:
        self._append(len(hello), self._frame(hello))

    def gone(self, subscriber: Subscriber) -> None:
        self.close(codes.DELETED)

    def kick(self) -> None:
        self._kicked = True
        if self._flusher is None and self._main is not None:
            self._flusher = asyncio.get_running_loop().create_task(self._flush())

    async def _flush(self) -> None:
        try:
            while self._kicked:
                self._kicked = False
                await self._send_pending()
                if self.closing is not None:
                    await self._end()
                    return
                for subscriber in list(self.subscribers.values()):
                    behind = subscriber.state in ("starting", "lagging")
                    if behind and await self.fanout.catch_up(subscriber):
                        # Sent before the next one is brought up to date: see the bound.
                        self._kicked = True
                        break
        except Disconnected:
            # The server tells `_receive` as well.
            self._detach()
        except Exception:
            log.exception("cannot send to a client")
            self._cut_at = 0.0
            self.closing = self.closing or codes.RESYNC
        finally:
            self._flusher = None

    async def _send_pending(self) -> None:
        while self._pending:
            size, item = self._pending.popleft()
            if item is self._beat:
                self._beat = None
            self._sending = True
            self.progressed()
            try:
                await self._send(item)
            finally:
                self._sending = False
            self.unsent -= size
            self._drained.set()


class Streams:
    """All streams of this hub: their heartbeats, their ends, and the drain.

    `opened` counts them by kind, `closed` those that the hub closed by kind and code, `rejected`
    those of them that had not been admitted."""

    def __init__(self, fanout: Fanout, settings: Settings) -> None:
        self.fanout = fanout
        self.settings = settings
        self.draining = False
        self.opened: Counter[str] = Counter()
        self.closed: Counter[tuple[str, str]] = Counter()
        self.rejected: Counter[tuple[str, str]] = Counter()
        self._open: set[Stream] = set()
        self._empty = asyncio.Event()
        self._empty.set()
        shortest = min(settings.ws_heartbeat, settings.sse_heartbeat, settings.stall_close)
        self._every = max(0.02, min(1.0, shortest / 4))

    def __len__(self) -> int:
        return len(self._open)

    @property
    def unsent(self) -> int:
        """Bytes that wait to be sent, all together."""
        return sum(stream.unsent for stream in self._open)

    def add(self, stream: Stream) -> None:
        """A stream begins."""
        self.opened[stream.kind] += 1
        self._open.add(stream)
        self._empty.clear()

    def ending(self, stream: Stream, code: int) -> None:
        """A stream is being closed with a code; 0 is the end of what was asked for."""
        self.closed[stream.kind, str(code)] += 1
        if stream.principal is None:
            self.rejected[stream.kind, str(code)] += 1

    def census(self) -> tuple[Counter[str], Counter[tuple[str, str]]]:
        """How many streams there are by kind, and how many subscriptions by kind and state."""
        streams: Counter[str] = Counter()
        subscribers: Counter[tuple[str, str]] = Counter()
        for stream in self._open:
            streams[stream.kind] += 1
            for subscriber in stream.subscribers.values():
                subscribers[stream.kind, subscriber.state] += 1
        return streams, subscribers

    def discard(self, stream: Stream) -> None:
        """A stream has ended."""
        self._open.discard(stream)
        if not self._open:
            self._empty.set()

    async def run(self) -> None:
        """Looks after all of them until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._every)
            for number, stream in enumerate(list(self._open), 1):
                stream.tick(loop.time(), time.time())
                if number % SWEEP_CHUNK == 0:
                    await asyncio.sleep(0)

    async def drain(self, timeout: float = CLOSE_GRACE) -> None:
        """Sends every client away, to come back spread over time, and returns once all are gone
        or after `timeout` seconds. New streams are sent away at once."""
        self.draining = True
        for number, stream in enumerate(list(self._open), 1):
            stream.close(codes.GOING_AWAY, self.return_after())
            if number % SWEEP_CHUNK == 0:
                await asyncio.sleep(0)
        try:
            async with asyncio.timeout(timeout):
                await self._empty.wait()
        except TimeoutError:
            log.warning("%d streams did not end in time", len(self._open))

    def return_after(self) -> float:
        """When a client that is sent away should come back, in seconds, with jitter."""
        spread = min(RETURN_CAP, 1.0 + len(self._open) / RETURN_RATE)
        return round(random.uniform(0.2, spread), 3)
