"""`ctx.run`: one command of a job, as its code sees it."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Generator
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

if TYPE_CHECKING:
    from worker.context import JobLink

__all__ = ["Command", "CommandFailed", "Line"]

_QUOTED: Final = 500


class Line(NamedTuple):
    """One line of output: `stream` is "stdout" or "stderr", `text` has no newline."""

    stream: str
    text: str


class CommandFailed(Exception):
    """A command did not do its work. `returncode` is negative when a signal ended it; `last_line`
    is the last one that it wrote, of stderr if there is one."""

    def __init__(self, message: str, returncode: int, last_line: str = "") -> None:
        super().__init__(message)
        self.returncode = returncode
        self.last_line = last_line


class Command:
    """An async iterator of lines; ``await`` it instead to let it run to its end.

    It starts with the first line that is asked for. `returncode` is there when the lines are over:
    the command has exited then, and what it left behind lives on until the job ends. With `check`,
    another status than 0 raises CommandFailed. Leaving the loop early does not stop it: `stop`
    does, and so does the end of the job."""

    def __init__(self, name: str, start: Callable[[], Awaitable[int]], link: JobLink, check: bool):
        self.returncode: int | None = None
        self._name = name
        self._start = start
        self._link = link
        self._check = check
        self._number: int | None = None
        self._lines: deque[Line] = deque()
        self._last: dict[str, str] = {}

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Line:
        if self.returncode is not None:
            raise StopAsyncIteration
        if self._number is None:
            self._number = await self._start()
        if not self._lines:
            self._lines.extend(Line(*line) for line in await self._link.lines(self._number))
        if self._lines:
            line = self._lines.popleft()
            if line.text.strip():
                self._last[line.stream] = line.text.strip()
            return line
        self.returncode = await self._link.returncode(self._number)
        if self._check and self.returncode != 0:
            raise self._failure(self.returncode)
        raise StopAsyncIteration

    def __await__(self) -> Generator[Any, None, Self]:
        return self._finish().__await__()

    async def stop(self, grace: float = 5.0) -> int | None:
        """TERM to the command and all that it started, KILL after `grace` seconds. Returns the exit
        status once nothing of it is alive; None when it was never started."""
        if self._number is not None:
            self.returncode = await self._link.stop(self._number, grace)
        return self.returncode

    async def _finish(self) -> Self:
        async for _ in self:
            pass
        return self

    def _failure(self, code: int) -> CommandFailed:
        last = self._last.get("stderr") or self._last.get("stdout") or ""
        how = f"exit code {code}" if code >= 0 else f"killed by signal {-code}"
        quoted = f": {last[:_QUOTED]}" if last else ""
        return CommandFailed(f"{self._name} failed ({how}){quoted}", code, last)
