"""One command of a job, as the worker holds it; and what can go wrong with it.

ProcessError
├── CommandNotStarted   it never ran: not found, not executable, no such directory, too many
└── WardenLost          the warden is gone, and with it every command
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from worker.output import Output


class ProcessError(Exception):
    """Something went wrong with a command, or with the warden that keeps it."""


class CommandNotStarted(ProcessError):
    """The command never ran; `errno` is the system's reason (ENOENT: not found)."""

    def __init__(self, message: str, errno: int) -> None:
        super().__init__(message)
        self.errno = errno


class WardenLost(ProcessError):
    """The warden is gone. Commands die with it, so there is nothing left to wait for."""


class Process:
    """One command of a job, made by `Processes.start`."""

    def __init__(
        self,
        job_id: str,
        argv: Sequence[str],
        pipes: Mapping[str, int],
        stop: Callable[[float], None],
    ) -> None:
        """`pipes` are taken over; `stop(grace)` asks the warden to. Needs a running loop."""
        loop = asyncio.get_running_loop()
        self.job_id = job_id
        self.argv = tuple(argv)
        self.pid = 0
        self._stop = stop
        self._output = Output(pipes)
        self._started: asyncio.Future[None] = loop.create_future()
        self._exited: asyncio.Future[int] = loop.create_future()
        self._gone: asyncio.Future[None] = loop.create_future()

    @property
    def returncode(self) -> int | None:
        """The exit status; `-n` when signal `n` killed it; None while it runs."""
        if not self._exited.done() or self._exited.cancelled() or self._exited.exception():
            return None
        return self._exited.result()

    def lines(self) -> AsyncIterator[tuple[str, str]]:
        """Iterate over `(stream, text)`; stream is "stdout" or "stderr", text has no newline.

        Lines are UTF-8 (bad bytes replaced) and at most 8 KiB: the rest of a longer one is cut, and
        a marker says how much. A slow consumer makes the command wait, at 64 KiB unread. It ends
        when the output does, or the command has exited and what it wrote was read. Iterating again
        goes on where the last iteration stopped.
        """
        return aiter(self._output)

    async def wait(self) -> int:
        """Wait for the command itself to exit (what it left behind lives on until `end`).

        Unless `lines()` was called before, its output is thrown away. Raises WardenLost.
        """
        if not self._output.iterated:
            self._output.discard()
        return await asyncio.shield(self._exited)

    async def terminate(self, grace: float = 5.0) -> int:
        """TERM to the command and all that it started, KILL to what is left after `grace` seconds.

        Returns the exit status once nothing of it is alive. Raises WardenLost.
        """
        self._stop(grace)
        await asyncio.shield(self._gone)
        return await asyncio.shield(self._exited)

    async def started(self) -> None:
        """Wait until the command runs. Raises CommandNotStarted or WardenLost."""
        await self._started

    def hear(self, message: Mapping[str, Any]) -> bool:
        """Take in what the warden says of this command; false when that was the last."""
        match message["op"]:
            case "started":
                self.pid = message["pid"]
                _resolve(self._started, None)
            case "exited":
                self._output.command_exited()
                _resolve(self._exited, message["code"])
            case "gone":
                self._output.finish()
                _resolve(self._gone, None)
                return False
            case "failed":
                self.fail(CommandNotStarted(message["message"], message["errno"]))
                return False
        return True

    def fail(self, error: ProcessError) -> None:
        """Nothing more will be heard of it: whoever waits gets `error`."""
        self._output.finish()
        for future in (self._started, self._exited, self._gone):
            if not future.done():
                future.set_exception(error)
                # Not everybody waits for everything; what nobody asks for is not worth a warning.
                future.exception()


def _resolve(future: asyncio.Future[Any], value: object) -> None:
    if not future.done():
        future.set_result(value)
