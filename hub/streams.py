"""What a WebSocket and an SSE stream have in common: one bounded way out, and an end.

There is no queue and no task for each connection: what is published is shared bytes, and a task
lives only while a subscription is behind and could go on.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import Coroutine
from typing import Any, ClassVar, Final

import msgspec

from hub import codes
from hub.auth import LEEWAY, Principal
from hub.fanout import Fanout
from hub.feed import Batch, Subscriber
from hub.pipes import Pipe
from hub.settings import Settings
from hub.transport.turns import Turns

log = logging.getLogger("jobcast.streams")

#: Seconds between being told to close and being cut off.
CLOSE_GRACE: Final = 10.0
#: Streams that are looked at before other tasks get a turn.
SWEEP_CHUNK: Final = 500
#: A drain asks clients to come back at this many a second, and none later than the cap.
RETURN_RATE: Final = 500
RETURN_CAP: Final = 20.0

encode: Final = msgspec.json.encode


class Stream:
    """One connection to a client. Subclasses say how it begins and what the client may say.

    At most `unsent_bytes` wait to be sent, beside one hello and answers to commands; then its
    subscriptions lag, each by a cursor. Without any progress for `stall_close` seconds it is
    closed with 4008. `heartbeat` is in seconds. Set `pipe` before anything else is called."""

    __slots__ = (
        "_beat_at",
        "_catching",
        "_cut_at",
        "_expires_at",
        "_heartbeat",
        "_kicked",
        "closing",
        "pipe",
        "principal",
        "streams",
        "subscribers",
    )

    #: What it is called in metrics.
    kind: ClassVar[str] = "websocket"
    #: Whether a goodbye is all that says why it ends.
    says_goodbye: ClassVar[bool] = False

    def __init__(self, streams: Streams, heartbeat: float) -> None:
        self.streams = streams
        self.subscribers: dict[str, Subscriber] = {}
        self.principal: Principal | None = None
        self.pipe: Pipe
        #: The code that it is being closed with; 0 for an end without one.
        self.closing: int | None = None
        self._heartbeat = heartbeat
        self._beat_at = 0.0
        self._catching: asyncio.Task[None] | None = None
        self._kicked = False
        self._expires_at: float | None = None
        self._cut_at = 0.0

    @property
    def fanout(self) -> Fanout:
        return self.streams.fanout

    @property
    def settings(self) -> Settings:
        return self.streams.settings

    # ------------------------------------------------------------------ life

    def open(self) -> None:
        """The connection is there, and `pipe` is set."""
        self._beat_at = asyncio.get_running_loop().time() + self._heartbeat
        self.streams.add(self)

    def leaving(self) -> None:
        """Nothing more can be sent (called by the pipe)."""
        if self.closing is None:
            self.closing = 0
            self._cut_at = asyncio.get_running_loop().time() + CLOSE_GRACE
        self._detach()

    def ended(self) -> None:
        """The connection is gone (called by the pipe)."""
        self.leaving()
        self.streams.discard(self)
        if self._catching is not None:
            self._catching.cancel()

    def admit(self, principal: Principal, now: float) -> None:
        """Takes a credential, which may have been renewed. `now` is in seconds since the epoch."""
        self.principal = principal
        self._expires_at = principal.expires_at
        if self._expires_at is not None and self._expires_at <= now:
            # It was taken within the leeway for clocks that differ, so it ends with that.
            self._expires_at += LEEWAY

    def close(self, code: int, reconnect_after: float | None = None, reason: str = "") -> None:
        """Ends it: what is unsent first (unless it is too slow for that), then `goodbye` where
        the client should come back, then the end. A no-op when it is closing already."""
        if self.closing is not None:
            return
        self.closing = code
        self.streams.ending(self, code)
        self._cut_at = asyncio.get_running_loop().time() + CLOSE_GRACE
        self._detach()
        if code == codes.TOO_SLOW:
            self.pipe.forget()
        if code and (codes.comes_back(code) or self.says_goodbye):
            after = reconnect_after
            if after is None and codes.comes_back(code):
                after = round(random.uniform(0.1, 1.0), 3)
            self.put({"type": "goodbye", "code": code, "reconnect_after": after})
        self.pipe.end(code or codes.GOING_AWAY, reason)

    def tick(self, now: float, wall: float) -> None:
        """Called every second or so: `now` is the loop's time, `wall` seconds since the epoch."""
        if self.closing is not None:
            if now >= self._cut_at:
                self.pipe.cut()
        elif self.pipe.stalled(now) > self.settings.stall_close:
            self.close(codes.TOO_SLOW)
        elif self._expires_at is not None and wall >= self._expires_at:
            self.close(codes.UNAUTHENTICATED)
        else:
            if now >= self._beat_at and self.principal is not None:
                self._beat(now)
            self.pipe.tick(now)

    def _beat(self, now: float) -> None:
        # Made now and sent after what is unsent: it covers no more than what goes before it.
        cursors = {
            session_id: self.fanout.cursor_of(subscriber).decode()
            for session_id, subscriber in self.subscribers.items()
            if subscriber.state != "starting"
        }
        body = encode({"type": "heartbeat", "cursors": cursors, "time": self.fanout.now()})
        if self.accepts(len(body)):
            self._beat_at = now + self._heartbeat
            self.pipe.text(body)

    def _detach(self) -> None:
        for subscriber in self.subscribers.values():
            self.fanout.unsubscribe(subscriber)
        self.subscribers.clear()

    # ------------------------------------------------------------------ the way out

    def put(self, frame: dict[str, Any]) -> None:
        """Sends an answer or another small frame, after what is unsent."""
        self.pipe.text(encode(frame))

    def accepts(self, size: int) -> bool:
        unsent = self.pipe.unsent
        return not unsent or unsent + size <= self.streams.bound

    def room(self) -> int:
        return self.streams.bound - self.pipe.unsent

    def write(self, subscriber: Subscriber, batch: Batch) -> None:
        self.pipe.batch(batch)

    def greet(self, subscriber: Subscriber, hello: bytes, cursor: bytes, over: bool) -> None:
        self.pipe.text(hello)

    def gone(self, subscriber: Subscriber) -> None:
        self.close(codes.DELETED)

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Runs something for this stream."""
        return self.streams.start(work)

    # ------------------------------------------------------------------ those behind

    def kick(self) -> None:
        self._kicked = True
        if self._catching is None and self.closing is None and self._behind():
            if self.pipe.unsent:
                self.pipe.tell_drained()
            else:
                self._catching = self.start(self._catch_up())

    def free(self) -> None:
        """Nothing is unsent, and nothing waits to be (called by the pipe as well)."""

    def drained(self) -> None:
        """Nothing is unsent any more (called by the pipe)."""
        self.kick()

    def _behind(self) -> list[Subscriber]:
        return [s for s in self.subscribers.values() if s.state in ("starting", "lagging")]

    async def _catch_up(self) -> None:
        try:
            while self._kicked:
                self._kicked = False
                for subscriber in self._behind():
                    if await self.fanout.catch_up(subscriber):
                        self._kicked = True
                        self._to_the_back(subscriber)
                    if self.pipe.unsent:
                        # Sent before the next one is brought up to date: see the bound.
                        self.pipe.tell_drained()
                        return
            self.free()
        except Exception:
            log.exception("cannot bring a client up to date")
            self.close(codes.RESYNC)
        finally:
            self._catching = None

    def _to_the_back(self, subscriber: Subscriber) -> None:
        """The other sessions of this stream are next: one that is busy must not hold them up."""
        session_id = subscriber.session_id
        if self.subscribers.get(session_id) is subscriber:
            self.subscribers[session_id] = self.subscribers.pop(session_id)


class Streams:
    """All streams of this hub: their heartbeats, their ends, and the drain.

    `opened` counts them by kind, `closed` those that the hub closed by kind and code, `rejected`
    those of them that had not been admitted."""

    def __init__(self, fanout: Fanout, settings: Settings) -> None:
        self.fanout = fanout
        self.settings = settings
        self.bound = settings.unsent_bytes
        self.turns = Turns()
        self.draining = False
        self.opened: Counter[str] = Counter()
        self.closed: Counter[tuple[str, str]] = Counter()
        self.rejected: Counter[tuple[str, str]] = Counter()
        self._open: set[Stream] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._empty = asyncio.Event()
        self._empty.set()
        shortest = min(settings.ws_heartbeat, settings.sse_heartbeat, settings.stall_close)
        self._every = max(0.02, min(1.0, shortest / 4))

    def __len__(self) -> int:
        return len(self._open)

    @property
    def unsent(self) -> int:
        """Bytes that wait to be sent, all together."""
        return sum(stream.pipe.unsent for stream in self._open)

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

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Runs something for a stream. What it raises is logged; it ends with `run`."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("a stream's task failed", exc_info=task.exception())

    async def run(self) -> None:
        """Looks after all of them until cancelled."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                await asyncio.sleep(self._every)
                now, wall = loop.time(), time.time()
                for number, stream in enumerate(list(self._open), 1):
                    # One object for many: each keeps the time at which it was heard.
                    stream.tick(now, wall)
                    if number % SWEEP_CHUNK == 0:
                        await asyncio.sleep(0)
                        now, wall = loop.time(), time.time()
        finally:
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

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
