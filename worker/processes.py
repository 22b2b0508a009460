"""The worker's side of its warden: commands that are owned down to the last grandchild."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import socket
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from worker.channel import Channel
from worker.environment import child_env
from worker.process import CommandNotStarted, Process, ProcessError, WardenLost
from worker.warden import FD_VARIABLE, launcher

__all__ = ["CommandNotStarted", "Process", "ProcessError", "Processes", "WardenLost"]

EXIT_WARDEN_LOST = 70


class Processes:
    """Starts commands through the warden and ends them, job by job.

    `job_id` is any string that names one *claim*: where a job can be claimed twice by one worker,
    add the token. The order is `begin`, `start`…, `end`; every job that was begun must be ended.

    Methods belong to the event loop's thread; `begin` and `valid_until` may be called from any.
    """

    def __init__(
        self,
        sock: socket.socket,
        *,
        on_lost: Callable[[], None] | None = None,
        child: subprocess.Popen[bytes] | None = None,
    ) -> None:
        self._channel = Channel(sock)
        self._on_lost = on_lost
        self._child = child
        self._numbers = itertools.count(1)
        self._processes: dict[int, Process] = {}
        self._ends: dict[str, asyncio.Future[None]] = {}

    @classmethod
    def inherited(cls, *, on_lost: Callable[[], None] | None = None) -> Processes | None:
        """The client of the warden that started this process; None when no warden did.

        `on_lost` is called in the loop's thread when the warden is gone; by default the worker then
        ends itself at once (`os._exit`), since nothing would kill its commands any more. (On Linux
        the kernel kills the worker with its warden anyway, even when its loop is blocked.)
        """
        number = os.environ.pop(FD_VARIABLE, None)
        if number is None:
            return None
        sock = socket.socket(fileno=int(number))
        sock.set_inheritable(False)
        return cls(sock, on_lost=on_lost or (lambda: os._exit(EXIT_WARDEN_LOST)))

    @classmethod
    def local(cls, *, tree: bool = True) -> Processes:
        """The client of a warden of its own, started here, which ends when this is closed or dies.

        `tree=False` asks for what systems without subreapers get: process groups.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            args = ["--serve", str(theirs.fileno()), *([] if tree else ["--groups"])]
            child = subprocess.Popen(
                launcher(*args),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        return cls(ours, child=child)

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._channel.fileno(), self._hear)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Leave the warden. It kills what is left of every job. Idempotent."""
        self._leave()
        if self._child is not None:
            await asyncio.to_thread(self._child.wait)

    def ready(self) -> None:
        """Tell the warden that start-up went well.

        From now on it starts a new worker when this one ends with a status other than 0. A worker
        that ends before is not restarted (unless a signal killed it): the fault is in its settings.
        """
        self._send({"op": "ready"})

    def begin(self, job_id: str, deadline: float | None = None) -> None:
        """Make a job known, valid until `deadline` (`clock.boottime()`, seconds; None: no end)."""
        self._send({"op": "begin", "job": job_id, "at": deadline})

    def valid_until(self, job_id: str, deadline: float) -> None:
        """Move a job's deadline (`clock.boottime()`, seconds), at which what it started is killed.

        The warden keeps it by its own clock, whatever becomes of this process. If it passes while
        `end` has not even been called, the worker has missed its own fence and so *all* children of
        the worker process are killed, also those it did not start here. Without effect for a job
        that is not begun or has ended. Thread-safe; takes microseconds.
        """
        self._send({"op": "valid", "job": job_id, "at": deadline})

    async def start(
        self,
        job_id: str,
        argv: Sequence[str],
        *,
        cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
        merge_stderr: bool = False,
        stdin: bytes | int | None = None,
    ) -> Process:
        """Start a command for a job (which is begun by it, if it was not).

        It runs in a session of its own, with `env` exactly (`child_env()` when None), with no file
        but its three standard ones, and with default signal handling. `stdin` is its input: bytes,
        a file descriptor (that stays the caller's; one end of a socket pair will do), or nothing.
        With `merge_stderr`, stderr goes where stdout goes, and the order of lines is exact.

        Raises CommandNotStarted, also when the job is ending already; WardenLost; ValueError for an
        empty argv, a NUL character, or argv and env of more than 4 MiB. Cancelled while it waits,
        it leaves nothing running.
        """
        env = child_env() if env is None else env
        cwd = None if cwd is None else os.fspath(cwd)
        if not argv:
            raise ValueError("argv must not be empty")
        if any("\0" in text for text in (*argv, *env, *env.values(), cwd or "")):
            raise ValueError("argv, env and cwd must not contain NUL characters")
        number = next(self._numbers)
        with contextlib.ExitStack() as theirs:
            pipes: dict[str, int] = {}
            ends = [_stdin(stdin, theirs)]
            for stream in ("stdout", "stderr"):
                if stream == "stderr" and merge_stderr:
                    ends.append(ends[-1])
                    break
                pipes[stream], end = os.pipe()
                theirs.callback(os.close, end)
                ends.append(end)
            process = Process(job_id, argv, pipes, lambda grace: self._stop(number, grace))
            self._processes[number] = process
            try:
                self._send(
                    {
                        "op": "start",
                        "id": number,
                        "job": job_id,
                        "argv": list(argv),
                        "env": dict(env),
                        "cwd": cwd,
                    },
                    ends,
                )
            except BaseException:
                del self._processes[number]
                process.fail(WardenLost("the warden is gone"))
                raise
        try:
            await process.started()
        except asyncio.CancelledError:
            with contextlib.suppress(WardenLost):
                self._stop(number, 0)
            raise
        return process

    async def end(self, job_id: str, grace: float = 5.0) -> None:
        """A job is over: return when nothing that it started is alive.

        What is left gets TERM, and KILL after `grace` seconds (0: KILL at once), or at the job's
        deadline: keep `valid_until` going. Ending a job that is unknown returns at once; ending one
        twice waits for the same end, with the shorter grace. Cancelling the caller does not stop
        it. Raises WardenLost.
        """
        ended = self._ends.get(job_id)
        if ended is None:
            ended = self._ends[job_id] = self._loop.create_future()
        self._send({"op": "end", "job": job_id, "grace": grace})
        await asyncio.shield(ended)

    def _stop(self, number: int, grace: float) -> None:
        self._send({"op": "stop", "id": number, "grace": grace})

    def _send(self, message: Mapping[str, Any], fds: Sequence[int] = ()) -> None:
        try:
            self._channel.send(message, fds)
        except OSError as error:
            raise WardenLost(f"the warden does not listen: {error}") from error

    def _hear(self) -> None:
        messages = self._channel.receive()
        if messages is None:
            self._leave()
            if self._on_lost is not None:
                self._on_lost()
            return
        for message in messages:
            if message["op"] == "ended":
                # Two calls may have made one end of it, or two.
                if (ended := self._ends.pop(message["job"], None)) is not None:
                    ended.set_result(None)
            elif not self._processes[message["id"]].hear(message):
                del self._processes[message["id"]]

    def _leave(self) -> None:
        """Close the socket, and let everybody know who waits for an answer. Idempotent."""
        if self._channel.fileno() >= 0:
            self._loop.remove_reader(self._channel.fileno())
            self._channel.close()
        lost = WardenLost("the warden is gone")
        for process in self._processes.values():
            process.fail(lost)
        self._processes.clear()
        for ended in self._ends.values():
            ended.set_exception(lost)
            ended.exception()
        self._ends.clear()


def _stdin(stdin: bytes | int | None, stack: contextlib.ExitStack) -> int:
    if isinstance(stdin, int):
        return stdin
    if stdin is None:
        fd = os.open(os.devnull, os.O_RDONLY)
        stack.callback(os.close, fd)
        return fd
    # A file, unlike a pipe, needs nobody to feed it while the command reads.
    with tempfile.TemporaryFile(buffering=0) as file:
        file.write(stdin)
        file.seek(0)
        fd = os.dup(file.fileno())
    stack.callback(os.close, fd)
    return fd
