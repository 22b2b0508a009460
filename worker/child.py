"""A process under supervision: it is started again when it dies, and ended with its supervisor."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import functools
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

_BACKOFF_FIRST, _BACKOFF_LAST = 0.2, 5.0
# A child that lived this long had started well: its next death begins the backoff anew.
_LONG_LIFE: Final = 10.0
_LINE_BYTES: Final = 64 * 1024
_PR_SET_PDEATHSIG: Final = 1

#: Gets a child's name and one line of its output.
OnLine = Callable[[str, str], None]


class Child:
    """One supervised process, in a session of its own so that a terminal's Ctrl-C reaches the
    supervisor alone, which ends its children in order.

    Until `started` is set it is not started again: what ends before it ever worked would only end
    once more. Then `ended` is its status, and `last_line` what it said last."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        env: Mapping[str, str],
        on_line: OnLine,
        fds: tuple[int, ...] = (),
    ) -> None:
        self.name = name
        self._argv = argv
        self._env = env
        self._on_line = on_line
        self._fds = fds
        self.started = False
        self.ended: int | None = None
        self.last_line = ""
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False
        # Held while a process is made, which takes a while: `stop` must not miss that one.
        self._starting = asyncio.Lock()

    @property
    def pid(self) -> int | None:
        """The process id, while it runs."""
        process = self._process
        return None if process is None or process.returncode is not None else process.pid

    async def run(self) -> None:
        """Keeps the process running until `stop`, or until it ends before it was `started`."""
        delay = _BACKOFF_FIRST
        while not self._stopping:
            started = time.monotonic()
            async with self._starting:
                process = self._process = await self._start()
            await self._read(process)
            code = await process.wait()
            if self._stopping:
                return
            if not self.started:
                self.ended = code
                return
            if time.monotonic() - started > _LONG_LIFE:
                delay = _BACKOFF_FIRST
            self._on_line(self.name, f"ended with status {code}; starting it again")
            await asyncio.sleep(delay)
            delay = min(delay * 2, _BACKOFF_LAST)

    async def _start(self) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *self._argv,
            env=dict(self._env),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            pass_fds=self._fds,
            limit=_LINE_BYTES,
            preexec_fn=functools.partial(_end_with_parent, os.getpid()),
        )

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while True:
            try:
                line = await process.stdout.readline()
            except ValueError:  # longer than the limit: the reader has thrown it away
                continue
            if not line:
                return
            said = line.decode(errors="replace").rstrip()
            self.last_line = said or self.last_line
            self._on_line(self.name, said)

    async def stop(self, timeout: float) -> None:
        """Ends it: TERM, and KILL for its whole session after `timeout` seconds."""
        self._stopping = True
        async with self._starting:
            process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(timeout):
                await process.wait()
        except TimeoutError:
            self._on_line(self.name, f"did not end within {timeout:g} s and was killed")
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


def _end_with_parent(parent: int) -> None:
    """In the child, before exec: a supervisor that is killed takes its children along (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)
