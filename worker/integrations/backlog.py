"""What a process has still to tell of its jobs, in order and bounded. No I/O, no locks.

At most MAX_STEPS steps, of MAX_BYTES in all, wait: while Redis is away that is thousands of jobs.
Beyond it the oldest beginning goes first, for the steps after it make up for it, and only then the
oldest of the rest. Log lines wait beside their run: MAX_LINES of LINES_BYTES in all, beyond which
the newest are counted instead of kept; of progress there is the latest only."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import msgspec

from worker.reporter import cut

MAX_STEPS: Final = 10_000
MAX_BYTES: Final = 16 * 1024 * 1024
MAX_LINES: Final = 2_000
LINES_BYTES: Final = 256 * 1024
#: What one call tells at most: a subscriber may have 64 KiB unsent.
BATCH_LINES: Final = 500
BATCH_BYTES: Final = 48 * 1024


@dataclass(slots=True)
class Step:
    """One thing to tell: `tell` does so and may be called again after it raised. A `beginning` may
    be dropped without loss: what follows it makes up for it. `dropped` is called where it was."""

    tell: Callable[[], object]
    size: int
    beginning: bool = False
    dropped: Callable[[], None] | None = None


class Backlog:
    """The steps that wait. `lost` counts those that were dropped since it was last set to 0."""

    def __init__(self) -> None:
        self._steps: deque[Step] = deque()
        self._bytes = 0
        self.lost = 0

    def __len__(self) -> int:
        return len(self._steps)

    @property
    def head(self) -> Step:
        """The step to take next. Raises IndexError when there is none."""
        return self._steps[0]

    def put(self, step: Step) -> None:
        """Adds a step behind all others, dropping what there is no room for."""
        self._steps.append(step)
        self._bytes += step.size
        while len(self._steps) > MAX_STEPS or (self._bytes > MAX_BYTES and len(self._steps) > 1):
            self._drop()

    def done(self, step: Step) -> None:
        """Takes a step out that was told, unless it has been dropped meanwhile."""
        if self._steps and self._steps[0] is step:
            self._steps.popleft()
            self._bytes -= step.size

    def _drop(self) -> None:
        step = next((step for step in self._steps if step.beginning), self._steps[0])
        self._steps.remove(step)
        self._bytes -= step.size
        self.lost += 1
        if step.dropped is not None:
            step.dropped()


@dataclass(slots=True)
class Sayings:
    """What one run has still to say: its log lines and its latest progress."""

    line_bytes: int
    progress: bytes | None = None
    skipped: int = 0
    _lines: deque[bytes] = field(default_factory=deque)
    _bytes: int = 0

    def __bool__(self) -> bool:
        return self.progress is not None or bool(self._lines) or self.skipped > 0

    def write(self, text: str, stream: str) -> None:
        """Adds every line of `text`, as far as there is room."""
        for line in text.removesuffix("\n").split("\n"):
            entry = _entry(cut(line.removesuffix("\r"), self.line_bytes), stream)
            full = len(self._lines) >= MAX_LINES or self._bytes + len(entry) > LINES_BYTES
            if full or self.skipped:
                self.skipped += 1
                continue
            self._lines.append(entry)
            self._bytes += len(entry)

    def batch(self) -> list[bytes]:
        """The next lines to tell. They stay until `lines_told`."""
        out: list[bytes] = []
        size = 0
        for entry in self._lines:
            if out and (len(out) >= BATCH_LINES or size + len(entry) > BATCH_BYTES):
                return out
            out.append(entry)
            size += len(entry)
        if not out and self.skipped:
            words = f"[{self.skipped} lines were not kept: Jobcast could not be reached in time]"
            self._lines.append(_entry(words, "stderr"))
            self._bytes += len(self._lines[-1])
            self.skipped = 0
            out.append(self._lines[-1])
        return out

    def lines_told(self, count: int) -> None:
        """Forgets the first `count` lines."""
        for _ in range(min(count, len(self._lines))):
            self._bytes -= len(self._lines.popleft())

    def progress_told(self, progress: bytes) -> None:
        """Forgets the progress unless there is newer one."""
        if self.progress is progress:
            self.progress = None

    def clear(self) -> None:
        """Forgets all of it."""
        self.progress = None
        self._lines.clear()
        self._bytes = self.skipped = 0


def _entry(text: str, stream: str) -> bytes:
    return msgspec.json.encode({"stream": stream, "text": text})
