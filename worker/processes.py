"""The worker's side of its warden: commands that are owned down to the last grandchild.

Errors:

    ProcessError
    ├── CommandNotStarted   it never ran: not found, not executable, no such directory, too many
    └── WardenLost          the warden is gone, and with it every command
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import select
import socket
import subprocess
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from worker.environment import child_env
from worker.output import Output
from worker.warden import FD_VARIABLE, MAX_MESSAGE, launcher

EXIT_WARDEN_LOST = 70
_SEND_TIMEOUT = 5.0


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

    def __init__(self, owner: Processes, number: int, job_id: str, argv: Sequence[str]) -> None:
        loop = asyncio.get_running_loop()
        self.job_id = job_id
        self.argv = tuple(argv)
        self.pid = 0
        self._owner = owner
        self._number = number
        self._started: asyncio.Future[None] = loop.create_future()
        self._exited: asyncio.Future[int] = loop.create_future()
        self._gone: asyncio.Future[None] = loop.create_future()
        self._output: Output | None = None

    @property
    def returncode(self) -> int | None:
        """The exit status; `-n` when signal `n` killed it; None while it runs."""
        if not self._exited.done() or self._exited.exception() is not None:
            return None
        return self._exited.result()

    def lines(self) -> AsyncIterator[tuple[str, str]]:
        """Iterate over `(stream, text)`; stream is "stdout" or "stderr", text has no newline.

        Lines are UTF-8 (bad bytes replaced) and at most 8 KiB: the rest of a longer one is cut, and
        a marker says how much. A slow consumer makes the command wait, at 64 KiB unread. It ends
        when the output does, or the command has exited and what it wrote was read. Iterating again
        goes on where the last iteration stopped.
        """
        assert self._output is not None
        return aiter(self._output)

    async def wait(self) -> int:
        """Wait for the command itself to exit (what it left behind lives on until `end`).

        Unless `lines()` was called before, its output is thrown away. Raises WardenLost.
        """
        assert self._output is not None
        if not self._output.iterated:
            self._output.discard()
        return await asyncio.shield(self._exited)

    async def terminate(self, grace: float = 5.0) -> int:
        """TERM to the command and all that it started, KILL to what is left after `grace` seconds.

        Returns the exit status once nothing of it is alive. Raises WardenLost.
        """
        self._owner._send({"op": "stop", "id": self._number, "grace": grace})
        await asyncio.shield(self._gone)
        return await asyncio.shield(self._exited)


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
        sock.setblocking(False)
        self._sock = sock
        self._on_lost = on_lost
        self._child = child
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._processes: dict[int, Process] = {}
        self._ends: dict[str, asyncio.Future[None]] = {}
        self._received = bytearray()
        self._lost = False

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
        self._loop.add_reader(self._sock.fileno(), self._hear)
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
        if self._sock.fileno() >= 0:
            self._loop.remove_reader(self._sock.fileno())
            self._sock.close()
        self._fail_all()
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
        empty argv or a NUL character. Cancelled while it waits, it leaves nothing running.
        """
        env = child_env() if env is None else env
        cwd = None if cwd is None else os.fspath(cwd)
        if not argv:
            raise ValueError("argv must not be empty")
        if any("\0" in text for text in (*argv, *env, *env.values(), cwd or "")):
            raise ValueError("argv, env and cwd must not contain NUL characters")
        number = next(self._numbers)
        process = Process(self, number, job_id, argv)
        message = {
            "op": "start",
            "id": number,
            "job": job_id,
            "argv": list(argv),
            "env": dict(env),
            "cwd": cwd,
        }
        with contextlib.ExitStack() as theirs:
            stdin_fd = _stdin(stdin, theirs)
            pipes: dict[str, int] = {}
            ends = [stdin_fd]
            for stream in ("stdout", "stderr"):
                if stream == "stderr" and merge_stderr:
                    ends.append(ends[1])
                    break
                pipes[stream], write_end = os.pipe()
                theirs.callback(os.close, write_end)
                ends.append(write_end)
            process._output = Output(pipes)
            self._processes[number] = process
            try:
                self._send(message, ends)
            except BaseException:
                self._forget(process)
                raise
        try:
            await process._started
        except asyncio.CancelledError:
            with contextlib.suppress(WardenLost):
                self._send({"op": "stop", "id": number, "grace": 0})
            process._output.close()
            raise
        except ProcessError:
            self._forget(process)
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

    def _forget(self, process: Process) -> None:
        self._processes.pop(process._number, None)
        if process._output is not None:
            process._output.close()
        for future in (process._started, process._exited, process._gone):
            future.cancel()

    def _send(self, message: Mapping[str, Any], fds: Sequence[int] = ()) -> None:
        data = json.dumps(message).encode() + b"\n"
        if len(data) > MAX_MESSAGE:
            raise CommandNotStarted(f"argv and env exceed {MAX_MESSAGE} bytes", 7)
        with self._lock:
            try:
                self._send_all(data, fds)
            except (OSError, ValueError) as error:
                # A half-sent message would garble the next one, so there is no way on.
                raise WardenLost(f"the warden does not listen: {error}") from error

    def _send_all(self, data: bytes, fds: Sequence[int]) -> None:
        view = memoryview(data)
        while view:
            try:
                sent = (
                    socket.send_fds(self._sock, [view], list(fds)) if fds else self._sock.send(view)
                )
            except BlockingIOError:
                poller = select.poll()
                poller.register(self._sock, select.POLLOUT)
                if not poller.poll(_SEND_TIMEOUT * 1000):
                    raise TimeoutError(f"nothing was read for {_SEND_TIMEOUT:g} s") from None
                continue
            view, fds = view[sent:], ()

    def _hear(self) -> None:
        try:
            data = self._sock.recv(64 * 1024)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._loop.remove_reader(self._sock.fileno())
            self._fail_all()
            if self._on_lost is not None:
                self._on_lost()
            return
        self._received += data
        *messages, rest = self._received.split(b"\n")
        self._received = bytearray(rest)
        for message in messages:
            self._dispatch(json.loads(message))

    def _dispatch(self, message: dict[str, Any]) -> None:
        if message["op"] == "ended":
            ended = self._ends.pop(message["job"], None)
            if ended is not None:
                ended.set_result(None)
            return
        process = self._processes.get(message["id"])
        if process is None or process._output is None:
            return
        match message["op"]:
            case "started":
                process.pid = message["pid"]
                _resolve(process._started, None)
            case "failed":
                _reject(process._started, CommandNotStarted(message["message"], message["errno"]))
            case "exited":
                process._output.command_exited()
                _resolve(process._exited, message["code"])
            case "gone":
                del self._processes[message["id"]]
                _resolve(process._gone, None)

    def _fail_all(self) -> None:
        self._lost = True
        for process in self._processes.values():
            lost = WardenLost("the warden is gone")
            for future in (process._started, process._exited, process._gone):
                _reject(future, lost)
            if process._output is not None:
                process._output.command_exited()
                process._output.close()
        self._processes.clear()
        for ended in self._ends.values():
            _reject(ended, WardenLost("the warden is gone"))
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


def _resolve(future: asyncio.Future[Any], value: object) -> None:
    if not future.done():
        future.set_result(value)


def _reject(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
        # Not everybody waits for everything: what nobody asks for is no "never retrieved" warning.
        future.exception()
