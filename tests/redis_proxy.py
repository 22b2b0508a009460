"""A proxy between a hub and its Valkey that loses what is published, and changes servers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from types import TracebackType

#: One reply of the server, whole.
Frame = bytes

_AGGREGATES = b"*%~>|"
_BULKS = b"$=!"


def frame_end(data: bytes | bytearray, start: int = 0) -> int | None:
    """Where the reply that begins at `start` ends (RESP2 and RESP3); None while it is not all
    there."""
    line = data.find(b"\r\n", start)
    if line < 0:
        return None
    kind, end = data[start], line + 2
    if kind in _BULKS:
        end += max(0, int(data[start + 1 : line]) + 2) if data[start + 1 : line] != b"-1" else 0
        return end if end <= len(data) else None
    if kind in _AGGREGATES:
        count = max(0, int(data[start + 1 : line])) * (2 if kind in b"%|" else 1)
        # Attributes stand before the reply that they are about.
        for _ in range(count + (kind in b"|")):
            inner = frame_end(data, end)
            if inner is None:
                return None
            end = inner
    return end


class RedisProxy:
    """`async with RedisProxy(port)` listens on a port of its own (`.port`), for a server there.

    A reply for which `loses` is true is thrown away; `lost` counts them. Connections that have
    been made silent stay open and hear nothing more; new ones are well."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._server: asyncio.Server | None = None
        self._closing = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._links: dict[asyncio.StreamWriter, bool] = {}
        self._silent: set[asyncio.StreamWriter] = set()
        self.loses: Callable[[Frame], bool] = lambda frame: False
        self.lost = 0
        self.port = 0

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    async def __aenter__(self) -> RedisProxy:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._closing = True
        self._server.close()
        # Not only what is open is ended, but what is just being opened as well.
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def lose_publications(self, session_id: str) -> None:
        """From here on, nothing that is published about a session arrives."""
        channel = b"live:%s\r\n" % session_id.encode()
        self.loses = lambda frame: b"smessage\r\n" in frame[:24] and channel in frame[:256]

    def silence_subscribers(self) -> int:
        """Connections on which somebody subscribed hear nothing more. Returns how many."""
        found = [near for near, subscribes in self._links.items() if subscribes]
        self._silent.update(found)
        return len(found)

    def switch(self, port: int) -> None:
        """Sends everybody to another server."""
        self._target = port
        self.cut()

    def cut(self) -> None:
        """Resets every connection that is open."""
        for near in list(self._links):
            near.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if self._closing:
            near.transport.abort()
            return
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._links[near] = False
        try:
            with contextlib.suppress(OSError):
                far_reader, far = await asyncio.open_connection("127.0.0.1", self._target)
                try:
                    async with asyncio.TaskGroup() as group:
                        group.create_task(self._forth(reader, near, far))
                        group.create_task(self._back(far_reader, near, far))
                finally:
                    far.transport.abort()
        finally:
            self._links.pop(near, None)
            self._silent.discard(near)
            near.transport.abort()

    async def _forth(
        self, reader: asyncio.StreamReader, near: asyncio.StreamWriter, far: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                far.write(data)
                await far.drain()
        far.transport.abort()

    async def _back(
        self, reader: asyncio.StreamReader, near: asyncio.StreamWriter, far: asyncio.StreamWriter
    ) -> None:
        buffer = bytearray()
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                buffer += data
                start = 0
                while start < len(buffer) and (end := frame_end(buffer, start)) is not None:
                    self._pass_on(bytes(buffer[start:end]), near)
                    start = end
                del buffer[:start]
                await near.drain()
        near.transport.abort()
        far.transport.abort()

    def _pass_on(self, frame: Frame, near: asyncio.StreamWriter) -> None:
        if b"ssubscribe\r\n" in frame[:24]:
            self._links[near] = True
        if near in self._silent or self.loses(frame):
            self.lost += 1
        else:
            near.write(frame)
