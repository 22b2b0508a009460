"""A TCP proxy that can cut, silence and lose replies: what networks do."""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType


class _Link:
    """One connection through the proxy. `silent`: it stays open, and nothing passes any more."""

    def __init__(self, near: asyncio.StreamWriter, far: asyncio.StreamWriter) -> None:
        self.writers = (near, far)
        self.silent = False
        self.losing: asyncio.Event | None = None

    def cut(self) -> None:
        for writer in self.writers:
            writer.transport.abort()


class Proxy:
    """`async with Proxy(host, port)` listens on a port of its own (`.port`)."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._server: asyncio.Server | None = None
        self._closing = False
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._losses: list[tuple[bytes, asyncio.Event]] = []
        self.port = 0

    async def __aenter__(self) -> Proxy:
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

    def cut(self) -> None:
        """Resets every connection that is open."""
        for link in list(self._links):
            link.cut()

    def silence(self) -> int:
        """Half-opens every connection: neither side hears of the other again, nor that it is so.
        New ones are well. Returns how many."""
        for link in self._links:
            link.silent = True
        return len(self._links)

    def lose_reply(self, request: bytes) -> asyncio.Event:
        """The next request that contains these bytes is let through; its reply is thrown away and
        the connection reset. The event is set once that has happened."""
        lost = asyncio.Event()
        self._losses.append((request, lost))
        return lost

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if self._closing:
            writer.transport.abort()
            return
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            with contextlib.suppress(OSError):
                far_reader, far_writer = await asyncio.open_connection(*self._target)
                link = _Link(writer, far_writer)
                self._links.add(link)
                try:
                    async with asyncio.TaskGroup() as group:
                        group.create_task(self._forth(reader, far_writer, link))
                        group.create_task(self._back(far_reader, writer, link))
                finally:
                    self._links.discard(link)
                    link.cut()
        finally:
            writer.transport.abort()

    async def _forth(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, link: _Link
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                for loss in self._losses:
                    if loss[0] in data:
                        self._losses.remove(loss)
                        link.losing = loss[1]
                        break
                if not link.silent:
                    writer.write(data)
                    await writer.drain()
        link.cut()

    async def _back(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, link: _Link
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                if link.losing is not None:
                    link.losing.set()
                    break
                if not link.silent:
                    writer.write(data)
                    await writer.drain()
        link.cut()
