"""A WebSocket client that is only a socket, and an echo to talk to."""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from hub.transport.direct import Direct, write_all
from hub.transport.rfc6455 import frame as server_frame
from hub.transport.turns import Turns
from hub.transport.wire import Wire

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
WORDS = "Hello-µ@ßöäüàá-UTF-8!! κόσμε 𝄞".encode()


def mask(payload: bytes, key: bytes) -> bytes:
    """RFC 6455 §5.3, a byte at a time: not the way in which the server does it."""
    return bytes(byte ^ word for byte, word in zip(payload, itertools.cycle(key), strict=False))


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    masked: bool = True,
    wide: int | None = None,
) -> bytes:
    """One frame, however wrong. `wide` is the number of bytes of its length (0, 2 or 8)."""
    length = len(payload)
    if wide is None:
        wide = 0 if length < 126 else 2 if length < 65_536 else 8
    first = bytes([(fin << 7) | (rsv << 4) | opcode])
    short = {0: length, 2: 126, 8: 127}[wide]
    size = b"" if wide == 0 else length.to_bytes(wide, "big")
    if not masked:
        return first + bytes([short]) + size + payload
    key = os.urandom(4)
    return first + bytes([0x80 | short]) + size + key + mask(payload, key)


def close(code: int | None = None, reason: bytes = b"") -> bytes:
    """A Close frame."""
    return frame(CLOSE, b"" if code is None else code.to_bytes(2, "big") + reason)


class Raw:
    """A client. Reads fail after a minute."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        sock.settimeout(60)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""

    def send(self, *frames: bytes, piece: int = 0) -> None:
        """Sends bytes, in one go or in pieces of so many bytes."""
        data = b"".join(frames)
        for start in range(0, len(data), piece or max(1, len(data))):
            self.sock.sendall(data[start : start + (piece or len(data))])

    def exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            more = self.sock.recv(65_536)
            if not more:
                raise EOFError(self._buffer)
            self._buffer += more
        found, self._buffer = self._buffer[:count], self._buffer[count:]
        return found

    def head(self) -> bytes:
        """An HTTP head."""
        while b"\r\n\r\n" not in self._buffer:
            more = self.sock.recv(65_536)
            if not more:
                raise EOFError(self._buffer)
            self._buffer += more
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        return head

    def frame(self) -> tuple[int, bytes]:
        """The next frame, which must be whole, unmasked and as short as can be."""
        first, second = self.exactly(2)
        assert first & 0xF0 == 0x80, "fragmented, or a reserved bit is set"
        assert second < 0x80, "masked"
        length = second
        if second > 125:
            length = int.from_bytes(self.exactly(2 if second == 126 else 8), "big")
            assert length > (125 if second == 126 else 65_535)
        return first & 0x0F, self.exactly(length)

    def closed(self) -> int | None:
        """Reads until the end; the code of the Close frame that must come, None for an empty
        one. Answers it, as a good client would."""
        while True:
            opcode, payload = self.frame()
            if opcode == CLOSE:
                break
        with suppress(OSError):
            self.sock.sendall(close(1000))
        assert self.rest() == b"", "something after the Close frame"
        return int.from_bytes(payload[:2], "big") if payload else None

    def rest(self) -> bytes:
        """Everything until the connection ends."""
        found = self._buffer
        with suppress(ConnectionError):
            while more := self.sock.recv(65_536):
                found += more
        return found


def ends_well(client: Raw) -> None:
    """The connection is still good, and closes as it should."""
    client.send(frame(TEXT, b"still here"), close(1000))
    assert client.frame() == (TEXT, b"still here")
    assert client.closed() == 1000


class Echo:
    """Sends back what it gets, as text or binary. A text `later` is awaited for some turns; what
    begins with `all:` goes to everybody."""

    def __init__(
        self, turns: Turns, seen: list[str], room: Room | None = None, *, limit: int, bound: int
    ) -> None:
        self.wire = Wire(self, turns, limit=limit, bound=bound)
        self.seen = seen
        self.room = Room() if room is None else room
        self.room.everybody.add(self)
        self._tasks: set[asyncio.Task[None]] = set()

    def received(self, raw: bytes | None) -> Coroutine[Any, Any, None] | None:
        if raw is None:
            self.wire.send(server_frame(BINARY, b"?"))
            return None
        if raw == b"later":
            return self._later()
        if raw == b"bye":
            self.wire.end(4001, "bye")
        elif raw.startswith(b"all:"):
            self.room.tell(raw)
        else:
            self.wire.text(raw)
        return None

    async def _later(self) -> None:
        for _ in range(3):
            await asyncio.sleep(0)
        self.wire.text(b"later")

    def start(self, work: Coroutine[Any, Any, None]) -> object:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def drained(self) -> None:
        self.seen.append("drained")

    def free(self) -> None:
        self.wire.board(self.room.lane, self)

    def leaving(self) -> None:
        self.seen.append("leaving")

    def ended(self) -> None:
        self.seen.append("ended")
        self.room.everybody.discard(self)


class Room:
    """All who are connected, and those of them who are free."""

    def __init__(self) -> None:
        self.everybody: set[Echo] = set()
        self.lane: dict[Echo, Direct] = {}

    def tell(self, text: bytes) -> None:
        """Sends a text to everybody, as a hub does."""
        apart = [echo for echo in self.everybody if echo not in self.lane]
        write_all(self.lane.values(), server_frame(TEXT, text))
        for echo in apart:
            echo.wire.text(text)


class Server:
    """Echoes in a loop and a thread of its own. `errors` is what its loop complained of."""

    def __init__(self, loop: asyncio.AbstractEventLoop, limit: int, bound: int) -> None:
        self.loop = loop
        self.seen: list[str] = []
        self.errors: list[str] = []
        self.port = 0
        self.room = Room()
        self._limit, self._bound = limit, bound

    async def start(self) -> asyncio.AbstractServer:
        turns = Turns()

        def make() -> asyncio.Protocol:
            return Echo(turns, self.seen, self.room, limit=self._limit, bound=self._bound).wire

        self.loop.set_exception_handler(lambda _, what: self.errors.append(str(what)))
        server = await self.loop.create_server(make, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        return server

    @contextmanager
    def client(self) -> Iterator[Raw]:
        """A client that is connected."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as sock:
            yield Raw(sock)


@contextmanager
def serving(
    new_loop: Callable[[], asyncio.AbstractEventLoop], *, limit: int = 65_536, bound: int = 65_536
) -> Iterator[Server]:
    """An echo server for as long as the context lasts; it must not complain."""
    loop = new_loop()
    server = Server(loop, limit, bound)
    listener = loop.run_until_complete(server.start())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(listener.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
    assert server.errors == []
