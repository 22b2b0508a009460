"""One open WebSocket on its transport (RFC 6455 §5–7). Extensions are not spoken."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, Final, cast

from hub.transport.direct import Direct, direct
from hub.transport.owner import NOBODY, Owner
from hub.transport.rfc6455 import (
    CLOSE,
    PING,
    TEXT,
    Reader,
    Violation,
    close_frame,
    close_of,
    frame,
    text_frames,
)
from hub.transport.turns import Turns

log = logging.getLogger("jobcast.transport")

#: Messages taken before other connections get their turn.
MESSAGES: Final = 256
_PING: Final = frame(PING, b"")
_PONG: Final = 0xA
#: `_left` before the first look.
_NEVER: Final = -1


class Wire(asyncio.Protocol):
    """What is sent is written once in a turn (`Turns`), and joined. At most `bound` bytes of
    answers wait for a client; then it is not read from until it has read.

    `limit` is the largest message in bytes. A client of which nothing was heard for
    `ping_timeout` seconds although it was asked every `ping_interval` is cut off, by `tick`."""

    __slots__ = (
        "_bound",
        "_busy",
        "_closing",
        "_connections",
        "_deaf",
        "_direct",
        "_full",
        "_heard",
        "_heard_at",
        "_key",
        "_lane",
        "_left",
        "_limit",
        "_out",
        "_out_size",
        "_owner",
        "_paused",
        "_ping_at",
        "_progress_at",
        "_reader",
        "_tell",
        "_transport",
        "_turns",
    )

    ping_interval: float = 20.0
    ping_timeout: float = 80.0

    def __init__(self, owner: Owner, turns: Turns, *, limit: int, bound: int) -> None:
        self._owner: Owner = owner
        self._turns = turns
        self._bound = bound
        self._limit = limit
        #: There while it holds something: most connections say nothing most of the time.
        self._reader: Reader | None = None
        self._transport: asyncio.Transport
        #: How others reach its client while nothing is unsent, and where they find that.
        self._direct: Direct | None = None
        self._lane: dict[Any, Direct] | None = None
        self._key: object = None
        self._connections: set[Any] | None = None
        self._out: bytes | list[bytes] | None = None
        #: Of the list, while it is one.
        self._out_size = 0
        #: The transport holds bytes that the kernel did not take.
        self._paused = False
        self._tell = False
        #: Our Close is on its way, and nothing follows it.
        self._closing = False
        #: Nothing that comes from the client counts any more.
        self._deaf = False
        #: Why the client is not read from: a message is being obeyed; it reads no answers.
        self._busy = False
        self._full = False
        self._heard = True
        self._heard_at = 0.0
        self._ping_at = 0.0
        #: What the transport held when it was looked at last.
        self._left = _NEVER
        self._progress_at = 0.0

    # ------------------------------------------------------------------ the transport's side

    def open(self, transport: asyncio.Transport, connections: set[Any] | None = None) -> None:
        """Takes an upgraded connection over. `connections`: where a server keeps its own."""
        self._transport = transport
        self._connections = connections
        if connections is not None:
            connections.add(self)
        # A write is handed to the kernel at once, and "paused" is: something is left over.
        transport.set_write_buffer_limits(high=0)
        transport.set_protocol(self)
        self._paused = transport.get_write_buffer_size() > 0
        self._ping_at = self._heard_at = asyncio.get_running_loop().time()
        self._ping_at += self.ping_interval

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.open(cast(asyncio.Transport, transport))

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()
        self._direct = None
        self._closing = self._deaf = True
        self._out = None
        self._paused = False
        if self._connections is not None:
            self._connections.discard(self)
        owner, self._owner = self._owner, NOBODY
        owner.ended()

    def pause_writing(self) -> None:
        self._paused = True
        self._left = _NEVER  # something was sent since the last look

    def resume_writing(self) -> None:
        self._paused = False
        if self._out is None:
            self._sent()
        else:
            self.flush()

    def eof_received(self) -> None:
        # Returning None has the transport closed once what is unsent is out.
        self.flush(whatever=True)
        self._leave()
        self._closing = self._deaf = True
        self._owner.leaving()

    def data_received(self, data: bytes) -> None:
        self._heard = True
        if self._deaf:
            return
        if self._reader is None:
            self._reader = Reader(self._limit)
        self._reader.feed(data)
        if not (self._busy or self._full):
            self._pull()

    def shutdown(self) -> None:
        """The server stops (called by uvicorn): closes with 1012 unless it is closing already."""
        if not self._closing:
            self.end(1012, "")
            self.flush(whatever=True)
        self._owner.leaving()
        self._transport.close()

    # ------------------------------------------------------------------ in

    def _pull(self) -> None:
        """Takes the messages that are here."""
        reader = self._reader
        if reader is None:
            return
        try:
            for _ in range(MESSAGES):
                message = reader.next()
                if message is None:
                    if reader.idle:
                        self._reader = None
                    return
                if not self._take(message.opcode, message.data):
                    return
        except Violation as error:
            self._fail(error)
            return
        self._hold()
        self._busy = True
        asyncio.get_running_loop().call_soon(self._obeyed)

    def _take(self, opcode: int, data: bytes) -> bool:
        """Whether to go on with the next one."""
        if opcode == CLOSE:
            self._closed_by_peer(data)
            return False
        if self._closing:
            return True
        if opcode == PING:
            self.send(frame(_PONG, data))
        elif opcode != _PONG:
            work = self._owner.received(data if opcode == TEXT else None)
            if work is not None:
                self._hold()
                self._busy = True
                self._owner.start(self._obey(work))
                return False
        if not self._closing and self.unsent > self._bound:
            self._hold()
            self._full = True
            return False
        return True

    async def _obey(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        finally:
            self._obeyed()

    def _obeyed(self) -> None:
        self._busy = False
        self._go_on()

    def _hold(self) -> None:
        if not (self._busy or self._full or self._transport.is_closing()):
            self._transport.pause_reading()

    def _go_on(self) -> None:
        if self._busy or self._full or self._deaf:
            return
        if not self._transport.is_closing():
            self._transport.resume_reading()
        self._pull()

    def _closed_by_peer(self, data: bytes) -> None:
        code, _ = close_of(data)
        if not self._closing:
            self._last(close_frame(code))
        self._deaf = True
        self._owner.leaving()
        self._transport.close()

    def _fail(self, error: Violation) -> None:
        if not self._closing:
            self._last(close_frame(error.code, error.reason))
        self._deaf = True
        self._reader = None
        self._owner.leaving()
        if self._transport.is_closing():
            return
        if self._transport.can_write_eof():
            # What the client is still sending is read and dropped until it has ended too: to
            # close on unread bytes is a reset, which would take our Close away from it.
            self._transport.write_eof()
        else:
            self._transport.close()

    # ------------------------------------------------------------------ out

    @property
    def unsent(self) -> int:
        """Bytes that the kernel has not taken."""
        out = self._out
        size = 0 if out is None else self._out_size if isinstance(out, list) else len(out)
        return size + self._transport.get_write_buffer_size() if self._paused else size

    def send(self, frames: bytes) -> None:
        """Sends whole frames. Dropped once the connection is closing."""
        if self._closing:
            return
        out = self._out
        if out is None:
            if self._lane is not None:
                self._leave()
            self._out = frames
            self._turns.add(self)
        elif isinstance(out, list):
            out.append(frames)
            self._out_size += len(frames)
        else:
            self._out = [out, frames]
            self._out_size = len(out) + len(frames)

    def text(self, *bodies: bytes) -> None:
        """Sends text messages, which must be UTF-8."""
        self.send(text_frames(bodies))

    def flush(self, whatever: bool = False) -> None:
        """Writes what this turn has brought. Called by `Turns`. What comes while the kernel takes
        nothing is kept here: one list of what all of a session share, where the transport would
        have a request for each write, and they would be a multiple of what is in them. At the end
        (`whatever`) the transport gets it all the same, which closes after it."""
        out = self._out
        if out is None or (self._paused and not whatever):
            return
        self._out = None
        if self._transport.is_closing():
            return
        self._transport.write(out if isinstance(out, bytes) else b"".join(out))
        if not self._paused:
            self._sent()

    def board(self, lane: dict[Any, Direct], key: object) -> None:
        """Lets others write to its socket by themselves, who find it in `lane`, until it has
        something to send of its own. A no-op unless it is free and has such a socket."""
        if self._out is not None or self._paused or self._closing:
            return
        if self._direct is None:
            self._direct = direct(self._transport, self)
        if self._direct is not None:
            self._leave()
            lane[key] = self._direct
            self._lane, self._key = lane, key

    def _leave(self) -> None:
        lane, self._lane = self._lane, None
        if lane is not None:
            lane.pop(self._key, None)
            self._key = None

    def left_over(self, rest: bytes) -> None:
        self._leave()
        if not self._transport.is_closing():
            self._transport.write(rest)

    def forget(self) -> None:
        """Drops what has not been handed to the transport."""
        self._out = None

    def tell_drained(self) -> None:
        """Asks for one `drained`, once nothing is unsent."""
        self._tell = True

    def _sent(self) -> None:
        if self._full:
            self._full = False
            self._go_on()
        if self._tell and self._out is None:
            self._tell = False
            self._owner.drained()
        if self._out is None and self._lane is None and not self._closing:
            self._owner.free()

    def end(self, code: int, reason: str) -> None:
        """Closes, after what is unsent; the client's Close ends the connection. Whoever calls
        this calls `cut` where that takes too long."""
        if self._closing:
            return
        self.send(close_frame(code, reason))
        self._closing = True
        if self._full:
            # Nothing will be answered any more, and its Close has to be read.
            self._full = False
            self._go_on()

    def _last(self, close: bytes) -> None:
        self.send(close)
        self._closing = True
        self.flush(whatever=True)

    def cut(self) -> None:
        """Ends the connection at once."""
        self._transport.abort()

    # ------------------------------------------------------------------ the sweeper's side

    def stalled(self, now: float) -> float:
        """For how many seconds something has been unsent without any progress."""
        if not self._paused:
            return 0.0
        left = self._transport.get_write_buffer_size()
        if left != self._left:
            self._left = left
            self._progress_at = now
        return now - self._progress_at

    def tick(self, now: float) -> None:
        """Called every second or so with the loop's time: finds out who is gone."""
        if self._heard:
            self._heard = False
            self._heard_at = now
        elif now - self._heard_at > self.ping_timeout:
            log.info("nothing was heard of a client for %d s", self.ping_timeout)
            self.cut()
            return
        if now >= self._ping_at and not self._closing:
            self._ping_at = now + self.ping_interval
            if not self._paused:
                self.send(_PING)
