"""What one worker has in the warden's keeping: jobs, their commands, and what these left behind.

This is the warden's end of the protocol that `worker.warden` describes. Nothing here blocks: the
warden calls `hear` when the worker's socket is readable, `step` before every wait, and `reaped` for
every child that has ended.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import resource
import select
import signal
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

from worker import minder, proctree
from worker.clock import boottime
from worker.forks import STEPS, Command

MAX_MESSAGE = 4 * 1024 * 1024
MAX_COMMANDS = 1024
# How long a minder may take over what it was told before it is taken for broken.
_PATIENCE = 5.0
_SWEEP_FIRST, _SWEEP_LAST = 0.02, 0.5

_CLOEXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
# Descriptors that are kept free, for those of the commands to come among others.
_SPARE_FDS = 64

Watch = Callable[[int, Callable[[], None] | None, int], None]


class _Job:
    def __init__(self) -> None:
        self.deadline = math.inf
        self.commands: set[int] = set()
        self.ending = False
        self.expired = False


class _Command:
    def __init__(self, number: int, job: str, what: str, handle: minder.Handle) -> None:
        self.number = number
        self.job = job
        self.what = what
        self.handle = handle
        self.started = False
        self.failed = False
        self.exited = False
        self.dead = False
        self.overdue = math.inf


class Custody:
    """The jobs of the worker at the other end of `sock`.

    `watch(fd, callback, events)` has the warden call back when `fd` is ready; None: no more.
    `purge()` makes one pass over the worker's own children, and is true while it finds any.
    """

    def __init__(
        self, sock: socket.socket, watch: Watch, purge: Callable[[], bool], *, tree: bool
    ) -> None:
        sock.setblocking(False)
        self.ready = False
        self.closed = False
        self._sock = sock
        self._watch = watch
        self._purge = purge
        self._tree = tree
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._room = max(1, min(MAX_COMMANDS, soft - _SPARE_FDS))
        self._jobs: dict[str, _Job] = {}
        self._commands: dict[int, _Command] = {}
        self._incoming = bytearray()
        self._fds: deque[int] = deque()
        # A worker that does not read is bound to stop asking: a few short answers per command.
        self._outgoing = bytearray()
        self._sweeping = False
        self._purging = False
        self._pause = _SWEEP_FIRST
        watch(sock.fileno(), self.hear, select.POLLIN)

    @property
    def empty(self) -> bool:
        """Nothing that was started for the worker's jobs is alive."""
        return not self._commands and not self._sweeping and not self._purging

    def abandon(self) -> None:
        """The worker is gone: close the socket and kill everything. Idempotent."""
        if not self.closed:
            self.closed = True
            self._watch(self._sock.fileno(), None, 0)
            self._sock.close()
            while self._fds:
                os.close(self._fds.popleft())
        for command in self._commands.values():
            self._stop(command, 0)

    def hear(self) -> None:
        """Read what the worker says. Closed, or broken, is abandoned."""
        try:
            data, fds, _, _ = socket.recv_fds(self._sock, 65536, 16, _CLOEXEC)
        except BlockingIOError:
            return
        except OSError:
            data, fds = b"", []
        self._fds.extend(fds)
        *messages, rest = (self._incoming + data).split(b"\n")
        self._incoming = rest
        if not data or len(rest) > MAX_MESSAGE:
            self.abandon()
            return
        for message in messages:
            self._obey(json.loads(message))

    def reaped(self, pid: int, status: int) -> bool:
        """A child of the warden has ended; false when it was no minder of ours."""
        command = next((c for c in self._commands.values() if c.handle.pid == pid), None)
        if command is None:
            return False
        self._hear_minder(command)
        self._watch(command.handle.fileno(), None, 0)
        command.handle.close()
        command.dead = True
        if status == 0:
            self._gone(command)
            return True
        # Somebody killed the minder, so its command died and what that had started came to us.
        if not command.started:
            command.failed = True
            self._refuse(command.number, command.what, 0, "its minder was killed")
        elif not command.exited:
            self._answer(op="exited", id=command.number, code=-signal.SIGKILL)
        self.sweep()
        return True

    def step(self, minders: set[int]) -> tuple[float, float | None]:
        """Do what is due. Return when to be called again at the latest: (boottime, seconds)."""
        now = boottime()
        for job in self._jobs.values():
            if not job.expired and now >= job.deadline:
                job.expired = True
                for number in job.commands:
                    self._commands[number].overdue = now + _PATIENCE
                # Not even ending: the worker is frozen or stuck, so its own children are nobody's.
                self._purging = self._purging or not job.ending
        for command in self._commands.values():
            if now >= command.overdue:
                command.overdue = now + _PATIENCE
                with contextlib.suppress(ProcessLookupError):
                    os.kill(command.handle.pid, signal.SIGKILL)
        pause = self._clean(minders)
        times = [job.deadline for job in self._jobs.values() if not job.expired]
        return min([*times, *(c.overdue for c in self._commands.values())], default=math.inf), pause

    def minders(self) -> set[int]:
        """The pids of the living minders."""
        return {command.handle.pid for command in self._commands.values() if not command.dead}

    def sweep(self) -> None:
        """A minder was killed, so what it minded has come to the warden: kill that."""
        self._sweeping, self._pause = self._tree, _SWEEP_FIRST
        if not self._tree:
            self._swept()

    def _clean(self, spare: set[int]) -> float | None:
        """One pass over what has to go; return when the next is due, in seconds."""
        if not self._sweeping and not self._purging:
            return None
        if self._purging:
            self._purging = self._purge()
        if self._sweeping:
            self._sweeping = bool(proctree.kill_tree(os.getpid(), spare))
            if not self._sweeping:
                self._swept()
        pause, self._pause = self._pause, min(self._pause * 1.5, _SWEEP_LAST)
        return pause

    def _swept(self) -> None:
        for command in [c for c in self._commands.values() if c.dead]:
            self._gone(command)

    def _obey(self, message: dict[str, Any]) -> None:
        match message["op"]:
            case "start":
                fds = [self._fds.popleft() for _ in range(3)]
                self._start(message, fds)
                for fd in fds:
                    os.close(fd)
            case "begin":
                self._jobs.setdefault(message["job"], _Job())
                self._set_deadline(message["job"], message["at"])
            case "valid":
                self._set_deadline(message["job"], message["at"])
            case "stop":
                if (command := self._commands.get(message["id"])) is not None:
                    self._stop(command, message["grace"])
            case "end":
                self._end(message["job"], message["grace"])
            case "ready":
                self.ready = True

    def _set_deadline(self, job_id: str, at: float | None) -> None:
        job = self._jobs.get(job_id)
        if job is None:
            return
        job.deadline = math.inf if at is None else at
        job.expired = False
        for number in job.commands:
            self._commands[number].handle.order(minder.VALID, job.deadline)

    def _start(self, message: dict[str, Any], fds: list[int]) -> None:
        number, where = message["id"], message["cwd"]
        what = repr(message["argv"][0]) + (f" in {where!r}" if where else "")
        job = self._jobs.setdefault(message["job"], _Job())
        refusal = None
        if job.ending or boottime() >= job.deadline:
            refusal = "its job is over"
        elif len(self._commands) >= self._room:
            refusal = f"{self._room} commands are running"
        if refusal is not None:
            self._refuse(number, what, 0, refusal)
            return
        command = Command(message["argv"], message["env"], message["cwd"], fds)
        try:
            handle = minder.spawn(command, tree=self._tree)
        except OSError as error:
            self._refuse(number, what, error.errno or 0, error.strerror or "cannot fork")
            return
        child = self._commands[number] = _Command(number, message["job"], what, handle)
        job.commands.add(number)
        if job.deadline != math.inf:
            handle.order(minder.VALID, job.deadline)
        self._watch(handle.fileno(), lambda: self._hear_minder(child), select.POLLIN)

    def _stop(self, command: _Command, grace: float) -> None:
        command.overdue = min(command.overdue, boottime() + grace + _PATIENCE)
        if not command.dead:
            command.handle.order(minder.STOP, grace)

    def _end(self, job_id: str, grace: float) -> None:
        job = self._jobs.get(job_id)
        if job is None:
            self._answer(op="ended", job=job_id)
            return
        job.ending = True
        for number in job.commands:
            self._stop(self._commands[number], grace)
        self._settle(job_id)

    def _gone(self, command: _Command) -> None:
        del self._commands[command.number]
        self._jobs[command.job].commands.discard(command.number)
        if not command.failed:
            self._answer(op="gone", id=command.number)
        self._settle(command.job)

    def _settle(self, job_id: str) -> None:
        job = self._jobs[job_id]
        if job.ending and not job.commands:
            del self._jobs[job_id]
            self._answer(op="ended", job=job_id)

    def _hear_minder(self, command: _Command) -> None:
        fd = command.handle.fileno()
        for what, a, b in command.handle.reports():
            if what == minder.STARTED:
                command.started = True
                self._answer(op="started", id=command.number, pid=a)
            elif what == minder.FAILED:
                command.failed = command.started = True
                why = os.strerror(a) if a else "bad arguments"
                self._refuse(command.number, command.what, a, f"{STEPS[b]}{why}")
            elif not command.failed:
                command.exited = True
                self._answer(op="exited", id=command.number, code=a)
        if command.handle.fileno() < 0:
            self._watch(fd, None, 0)

    def _refuse(self, number: int, what: str, errno: int, why: str) -> None:
        self._answer(op="failed", id=number, errno=errno, message=f"cannot start {what}: {why}")

    def _answer(self, **message: Any) -> None:
        if not self.closed:
            self._outgoing += json.dumps(message).encode() + b"\n"
            self._flush()

    def _flush(self) -> None:
        with contextlib.suppress(OSError):
            # A worker that is gone shows as an end of file.
            while self._outgoing:
                del self._outgoing[: self._sock.send(self._outgoing)]
        if self._outgoing:
            self._watch(self._sock.fileno(), self._ready_both, select.POLLIN | select.POLLOUT)

    def _ready_both(self) -> None:
        self._watch(self._sock.fileno(), self.hear, select.POLLIN)
        self._flush()
        if not self.closed:
            self.hear()
