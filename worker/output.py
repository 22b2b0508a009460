"""A running command's output, read from its pipes no faster than somebody wants it."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import deque
from collections.abc import Iterator, Mapping

from worker.lines import LineSplitter

MAX_BUFFERED = 64 * 1024
_CHUNK = 16 * 1024


class Output:
    """An async iterator of `(stream, text)`; order is kept within a stream, not between two.

    About `MAX_BUFFERED` bytes wait here. Past that the pipes are not read, so that a command which
    writes faster than it is read has to wait; nothing is dropped but what `LineSplitter` cuts.

    It ends when the pipes do, or when the command has exited and what it wrote has been read. What
    a daemon of its making writes later is read and thrown away: closing the pipe would kill the
    daemon, and leaving it would block it.
    """

    def __init__(self, pipes: Mapping[str, int]) -> None:
        """Takes over the read ends in `pipes` (stream name → fd). Needs a running loop."""
        self._loop = asyncio.get_running_loop()
        self._open = dict(pipes)
        self._ended: set[str] = set()
        self._chunks: deque[tuple[str, bytes]] = deque()
        self._size = 0
        self._splitters = {stream: LineSplitter() for stream in pipes}
        self._lines: Iterator[tuple[str, str]] = iter(())
        self._paused = False
        self._exited = False
        self._unwanted = False
        self._waiter: asyncio.Future[None] | None = None
        self.iterated = False
        for stream, fd in pipes.items():
            os.set_blocking(fd, False)
            self._loop.add_reader(fd, self._read, stream)

    def __aiter__(self) -> Output:
        self.iterated = True
        return self

    async def __anext__(self) -> tuple[str, str]:
        while True:
            for line in self._lines:
                return line
            if self._chunks:
                stream, data = self._chunks.popleft()
                self._size -= len(data)
                self._lines = self._cut(stream, data)
                if self._paused and self._size <= MAX_BUFFERED // 2:
                    self._resume()
            elif len(self._ended) == len(self._splitters):
                last = [(s, text) for s, cut in self._splitters.items() for text in cut.flush()]
                if not last:
                    raise StopAsyncIteration
                self._lines = iter(last)
            else:
                self._waiter = self._loop.create_future()
                await self._waiter

    def command_exited(self) -> None:
        """The command has exited: take what is still in the pipes, then end."""
        self._exited = True
        for stream in tuple(self._open):
            self._read(stream)

    def discard(self) -> None:
        """Nobody will ask for lines: read and throw away, so that the command never blocks."""
        self._unwanted = True
        self._chunks.clear()
        self._size = 0
        if self._paused:
            self._resume()

    def finish(self) -> None:
        """Nobody writes any more: take what is in the pipes, however much, and close them.

        That is the pipes' capacity on top of `MAX_BUFFERED`; lines can still be had. Idempotent.
        """
        self._exited = True
        for stream in tuple(self._open):
            self._paused = False
            self._read(stream, bounded=False)
            self._close(stream)

    def _cut(self, stream: str, data: bytes) -> Iterator[tuple[str, str]]:
        return ((stream, text) for text in self._splitters[stream].feed(data))

    def _read(self, stream: str, bounded: bool = True) -> None:
        """Read once; after the command's exit, all there is. Called when `stream` is readable."""
        while stream in self._open and not self._paused:
            try:
                data = os.read(self._open[stream], _CHUNK)
            except BlockingIOError:
                if self._exited:
                    self._end(stream)
                return
            if not data:
                self._close(stream)
                return
            if not self._unwanted and stream not in self._ended:
                self._chunks.append((stream, data))
                self._size += len(data)
                self._wake()
                if bounded and self._size >= MAX_BUFFERED:
                    self._pause()
            if not self._exited or stream in self._ended:
                return

    def _pause(self) -> None:
        self._paused = True
        for fd in self._open.values():
            self._loop.remove_reader(fd)

    def _resume(self) -> None:
        self._paused = False
        for stream, fd in tuple(self._open.items()):
            self._loop.add_reader(fd, self._read, stream)
            if self._exited:
                self._read(stream)

    def _end(self, stream: str) -> None:
        self._ended.add(stream)
        self._wake()

    def _close(self, stream: str) -> None:
        fd = self._open.pop(stream, None)
        if fd is None:
            return
        self._loop.remove_reader(fd)
        with contextlib.suppress(OSError):
            os.close(fd)
        self._end(stream)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
