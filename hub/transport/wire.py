"""One open WebSocket on its transport (RFC 6455 §5–7). Extensions are not spoken."""

from __future__ import annotations

import asyncio
import logging
from os import write as write_fd
from collections.abc import Coroutine
from typing import Any, Final, Protocol, cast

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
#: `_written` before the first look: no progress was seen yet.
_NEVER: Final = -1


class Owner(Protocol):
    """Whom a wire tells. No call may block or raise."""

    def received(self, raw: bytes | None) -> Coroutine[Any, Any, None] | None:
        """A text message came, or a binary one (None). What has to be awaited before the next
        message is taken is returned."""
        ...

    def start(self, work: Coroutine[Any, Any, None]) -> object:
        """Runs what has to be awaited, in a task that somebody owns."""
        ...

    def drained(self) -> None:
        """Nothing is unsent any more (told once after each `tell_drained`)."""
        ...

    def leaving(self) -> None:
        """The client ends it, or broke the protocol: nothing more will be sent. Whoever owns the
        wire sees to it that `cut` is called where the end takes too long."""
        ...

    def ended(self) -> None:
        """The connection is gone."""
        ...


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
        "_fd",
        "_full",
        "_heard",
        "_heard_at",
        "_limit",
        "_mark",
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
        "_written",
    )

    ping_interval: float = 20.0
    ping_timeout: float = 80.0

    def __init__(self, owner: Owner, turns: Turns, *, limit: int, bound: int) -> None:
        self._owner = owner
        self._turns = turns
        self._bound = bound
        self._limit = limit
        #: There while it holds something: most connections say nothing most of the time.
        self._reader: Reader | None = None
        self._transport: asyncio.Transport
        #: Where the kernel takes what we send; -1 where a transport has to do it.
        self._fd = -1
        self._connections: set[Any] | None = None
        self._out: bytes | list[bytes] | None = None
        self._out_size = 0
        self._written = 0
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
        self._mark = _NEVER
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
        self._fd = _fd_of(transport)
        self._ping_at = self._heard_at = asyncio.get_running_loop().time()
        self._ping_at += self.ping_interval

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.open(cast(asyncio.Transport, transport))

    def connection_lost(self, exc: Exception | None) -> None:
        # The transport closes it right after this, and then it may be somebody else's.
        self._fd = -1
        self._closing = self._deaf = True
        self._out = None
        self._out_size = 0
        self._paused = False
        if self._connections is not None:
            self._connections.discard(self)
        self._owner.ended()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        if self._out is None:
            self._sent()
        else:
            self._write()

    def eof_received(self) -> None:
        # Returning None has the transport closed once what is unsent is out.
        self._write()
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
            self._write()
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
        if self._paused:
            return self._out_size + self._transport.get_write_buffer_size()
        return self._out_size

    def send(self, frames: bytes) -> None:
        """Sends whole frames. Dropped once the connection is closing."""
        if self._closing:
            return
        out = self._out
        if out is None:
            self._out = frames
            self._turns.add(self)
        elif isinstance(out, list):
            out.append(frames)
        else:
            self._out = [out, frames]
        self._out_size += len(frames)

    def text(self, *bodies: bytes) -> None:
        """Sends text messages, which must be UTF-8."""
        self.send(text_frames(bodies))

    def flush(self) -> None:
        """Writes what this turn has brought. Called by `Turns`. What comes while the kernel takes
        nothing is kept here: one list of what all of a session share, where the transport would
        have a request for each write, and they would be a multiple of what is in them."""
        if not self._paused:
            self._write()

    def _write(self) -> None:
        out = self._out
        if out is None:
            return
        self._out = None
        size, self._out_size = self._out_size, 0
        if self._fd < 0 and self._transport.is_closing():
            return
        self._written += size
        self._hand_over(out if isinstance(out, bytes) else b"".join(out))
        if (self._tell or self._full) and not self._paused:
            self._sent()

    def _hand_over(self, out: bytes) -> None:
        """To the kernel, past the transport, which holds nothing; it is given what the kernel does
        not take, and finds out by itself what is wrong with the connection."""
        if self._fd >= 0 and not self._paused:
            try:
                taken = write_fd(self._fd, out)
            except OSError:
                taken = 0
            if taken == len(out):
                return
            out = out[taken:]
        self._transport.write(out)

    def forget(self) -> None:
        """Drops what has not been handed to the transport."""
        self._out = None
        self._out_size = 0

    def tell_drained(self) -> None:
        """Asks for one `drained`, once nothing is unsent."""
        self._tell = True

    def _sent(self) -> None:
        if self._full:
            self._full = False
            self._go_on()
        if self._tell and not self._out_size:
            self._tell = False
            self._owner.drained()

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
        self._write()

    def cut(self) -> None:
        """Ends the connection at once."""
        self._transport.abort()

    # ------------------------------------------------------------------ the sweeper's side

    def stalled(self, now: float) -> float:
        """For how many seconds something has been unsent without any progress."""
        if not self._paused:
            self._mark = _NEVER
            return 0.0
        sent = self._written - self._transport.get_write_buffer_size()
        if sent != self._mark:
            self._mark = sent
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


def _fd_of(transport: asyncio.Transport) -> int:
    """The socket of a transport that only hands bytes on; -1 for others, such as TLS.

    asyncio's and uvloop's transports close it after `connection_lost`, and not before."""
    sock = transport.get_extra_info("socket")
    if sock is None or transport.get_extra_info("sslcontext") is not None:
        return -1
    return int(sock.fileno())
