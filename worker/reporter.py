"""What a job says while it runs: progress and log lines on their way to Redis."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec
from redis.exceptions import RedisError

from hub.errors import StaleToken
from hub.transitions import Transitions
from worker.persist import persist

log = logging.getLogger("jobcast.worker")

#: Seconds between two batches of log lines, and between two progress events, of one job.
LOG_PAUSE: Final = 0.05
PROGRESS_PAUSE: Final = 0.1
#: What one batch may hold: a subscriber may have 64 KiB unsent.
BATCH_LINES: Final = 1_000
BATCH_BYTES: Final = 48 * 1024
#: What may wait here. A job that writes more waits until there is room: while Redis is slow or
#: away, its producer (and through the pipe, its command) is held up, and nothing is dropped.
WAITING_LINES: Final = 2_000
WAITING_BYTES: Final = 256 * 1024


def cut(text: str, limit: int) -> str:
    """Text of at most `limit` bytes of UTF-8; of a longer one the head, and how much is missing.
    What UTF-8 cannot express (lone surrogates) becomes `?`."""
    if text.isascii() and len(text) <= limit:
        return text
    raw = text.encode("utf-8", "replace")
    if len(raw) <= limit:
        return raw.decode()
    kept = raw[: max(0, limit - 40)].decode("utf-8", "ignore")
    return f"{kept} …[{len(raw) - len(kept.encode())} more bytes]"


class Reporter:
    """The progress and the log of one claim. `last_line` is the number of the last line kept.

    `on_stale` is called when the claim turns out to be over; what is said from then on goes
    nowhere. What Redis refuses for good (out of memory) is dropped: a log must not keep a job from
    ending."""

    def __init__(
        self,
        transitions: Transitions,
        job_id: str,
        token: str,
        last_line: int,
        line_bytes: int,
        on_stale: Callable[[], None],
    ) -> None:
        self._transitions = transitions
        self._job_id = job_id
        self._token = token
        self._next_line = last_line + 1
        self._line_bytes = line_bytes
        self._on_stale = on_stale
        self._lines: deque[bytes] = deque()
        self._bytes = 0
        self._progress: bytes | None = None
        self._logged_at = self._progressed_at = 0.0
        self._sending = asyncio.Lock()
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._pump: asyncio.Task[None] | None = None
        self._over = False

    async def write(self, stream: str, text: str) -> None:
        """Logs every line of `text`. Waits while too much is waiting."""
        for line in text.removesuffix("\n").split("\n"):
            if self._over:
                return
            shown = cut(line.removesuffix("\r"), self._line_bytes)
            entry = msgspec.json.encode({"stream": stream, "text": shown})
            self._lines.append(entry)
            self._bytes += len(entry)
            self._start()
            while not self._over and (
                len(self._lines) > WAITING_LINES or self._bytes > WAITING_BYTES
            ):
                self._room.clear()
                await self._room.wait()

    def progress(self, progress: bytes) -> None:
        """Tells how far the job is; only the latest that was told counts."""
        if not self._over:
            self._progress = progress
            self._start()

    async def flush(self) -> None:
        """Returns when all that was said is in Redis, however long Redis is away."""
        while not self._over and (self._lines or self._progress is not None):
            await self._send(now=True)

    async def close(self) -> None:
        """`flush`, and then says nothing more."""
        try:
            await self.flush()
        finally:
            await self.abandon()

    async def abandon(self) -> None:
        """Says nothing more, not even what waits."""
        self._drop()
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.wait({self._pump})
            self._pump = None

    def _drop(self) -> None:
        self._over = True
        self._lines.clear()
        self._bytes = 0
        self._progress = None
        self._room.set()

    def _start(self) -> None:
        self._wake.set()
        if self._pump is None:
            self._pump = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._over:
            await self._wake.wait()
            dues = [self._logged_at + LOG_PAUSE] if self._lines else []
            if self._progress is not None:
                dues.append(self._progressed_at + PROGRESS_PAUSE)
            if dues and (pause := min(dues) - loop.time()) > 0:
                await asyncio.sleep(pause)
            self._wake.clear()
            await self._send(now=False)
            if self._lines or self._progress is not None:
                self._wake.set()

    async def _send(self, *, now: bool) -> None:
        clock = asyncio.get_running_loop().time
        async with self._sending:
            try:
                if self._lines and (now or clock() >= self._logged_at + LOG_PAUSE):
                    await self._send_lines()
                    self._logged_at = clock()
                if self._progress is not None and (
                    now or clock() >= self._progressed_at + PROGRESS_PAUSE
                ):
                    await self._send_progress()
                    self._progressed_at = clock()
            except StaleToken:
                self._drop()
                self._on_stale()

    async def _send_lines(self) -> None:
        batch: list[bytes] = []
        size = 0
        for line in self._lines:
            if batch and (len(batch) >= BATCH_LINES or size + len(line) > BATCH_BYTES):
                break
            batch.append(line)
            size += len(line)
        first = self._next_line
        try:
            await persist(lambda: self._transitions.log(self._job_id, self._token, first, batch))
            self._next_line += len(batch)
        except RedisError as error:
            log.warning("dropped %d log lines of job %s: %s", len(batch), self._job_id, error)
        if self._over:
            return
        for _ in batch:
            self._bytes -= len(self._lines.popleft())
        self._room.set()

    async def _send_progress(self) -> None:
        progress, self._progress = self._progress, None
        assert progress is not None
        try:
            await persist(lambda: self._transitions.progress(self._job_id, self._token, progress))
        except RedisError as error:
            log.warning("dropped the progress of job %s: %s", self._job_id, error)
