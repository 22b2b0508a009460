"""The minder: a child of the warden that runs one command and answers for all that comes of it.

It is a fork of the warden without an exec, so it costs little more than its page tables. Being a
subreaper, it is the parent of whatever the command leaves behind, and it exits only when it has no
child left: *its own end is the proof that nothing of the command is alive*. It kills the tree when
told to, at the job's deadline by its own clock, and when the warden is gone (end of file).

Between the two go fixed records: `ORDER` (what, value) to it, `REPORT` (what, a, b) from it.

| order | means |
|---|---|
| `VALID` at | kill everything at `at` (boottime; infinity: no deadline) |
| `STOP` grace | TERM to everything now, KILL after `grace` seconds (0: now) |
| `SIGNAL` number | a signal to the command alone |

| report | means |
|---|---|
| `STARTED` pid | the command runs |
| `FAILED` errno, step | it could not be started; `forks.STEPS` has words for the step |
| `EXITED` code | the command's exit status, negative for a signal |
"""

from __future__ import annotations

import contextlib
import gc
import math
import os
import select
import signal
import socket
import struct
from typing import NoReturn

from worker import proctree
from worker.clock import Alarm, boottime
from worker.forks import Command, ExecFailed, become, close_all, fork, reset_signals, say

ORDER = struct.Struct("!cd")
VALID, STOP, SIGNAL = b"V", b"S", b"K"
REPORT = struct.Struct("!cii")
STARTED, FAILED, EXITED = b"+", b"!", b"x"

_FAILURE = struct.Struct("!ii")
_KILL_EVERY = 0.02
_CHASE = 0.005
_LOOK_EVERY = 0.5
_COMPLAIN_AFTER = 5.0


class Handle:
    """The warden's hold on a minder."""

    def __init__(self, pid: int, sock: socket.socket) -> None:
        self.pid = pid
        self._sock = sock
        self._reports = b""

    def fileno(self) -> int:
        """The descriptor on which reports come; -1 after their end."""
        return self._sock.fileno()

    def order(self, what: bytes, value: float) -> None:
        """Send an order. One that has ended, or hears nothing, is no error."""
        with contextlib.suppress(OSError):
            # One that is stopped would not hear.
            os.kill(self.pid, signal.SIGCONT)
            self._sock.send(ORDER.pack(what, value))

    def reports(self) -> list[tuple[bytes, int, int]]:
        """The reports that have come. At their end it closes itself."""
        try:
            data = self._sock.recv(4096)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        if not data:
            self._sock.close()
        self._reports += data
        whole = len(self._reports) - len(self._reports) % REPORT.size
        reports, self._reports = self._reports[:whole], self._reports[whole:]
        return list(REPORT.iter_unpack(reports))

    def close(self) -> None:
        """Let go of it: a minder that still runs kills its tree. Idempotent."""
        self._sock.close()


def spawn(command: Command, *, tree: bool) -> Handle:
    """Fork a minder for `command`, whose descriptors stay the caller's to close. Raises OSError."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    parent = os.getpid()
    try:
        pid = fork()
    except OSError:
        ours.close()
        theirs.close()
        raise
    if pid == 0:
        _be_minder(parent, theirs, command, tree)
    theirs.close()
    return Handle(pid, ours)


def _be_minder(parent: int, sock: socket.socket, command: Command, tree: bool) -> NoReturn:
    status = 1
    try:
        gc.disable()
        # A session of its own: what the terminal sends to the worker's group is not for it.
        os.setsid()
        reset_signals()
        # Neither a report that nobody hears any more, nor a signal meant for all processes of a
        # service, must end it before the tree has ended.
        for sig in (signal.SIGPIPE, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(sig, signal.SIG_IGN)
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null, 1)
        close_all({0, 1, 2, sock.fileno(), *command.stdio, *command.passed})
        if tree:
            proctree.become_subreaper()
            proctree.set_name("jobcast-minder")
            # The socket tells of the warden's end; this wakes a minder that was stopped.
            proctree.die_with_parent(parent, signal.SIGCONT)
        Minder(sock, command, tree).run()
        status = 0
    except BaseException as error:  # noqa: BLE001 - nothing may unwind into the warden's frames
        say(f"the minder of {command.argv[0]!r} failed: {error!r}")
    finally:
        os._exit(status)


class Minder:
    """The minder's loop, in its own process."""

    def __init__(self, sock: socket.socket, command: Command, tree: bool) -> None:
        self._sock = sock
        sock.setblocking(False)
        self._tree = tree
        self._orders = b""
        self._valid_until = math.inf
        self._kill_at = math.inf
        self._killing_since: float | None = None
        self._complained = False
        self._alarm = Alarm()
        self._wake, wake = socket.socketpair()
        for end in (self._wake, wake):
            end.setblocking(False)
        self._wake_writer = wake
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._exited = False
        self._starting: int | None = None
        self._pid = 0
        self._start(command)

    def run(self) -> None:
        """Return when the command and all that came of it has ended."""
        poller = select.poll()
        for fd in (self._sock.fileno(), self._wake.fileno()):
            poller.register(fd, select.POLLIN)
        if self._alarm.fd is not None:
            poller.register(self._alarm.fd, select.POLLIN)
        if self._starting is not None:
            poller.register(self._starting, select.POLLIN)
        while not self._reap():
            timeout = self._next_step()
            ready = dict(poller.poll(None if timeout is None else timeout * 1000))
            if self._starting is not None and self._starting in ready:
                poller.unregister(self._starting)
                self._read_start()
            if self._wake.fileno() in ready:
                self._wake.recv(4096)
            if self._sock.fileno() in ready and not self._read_orders():
                poller.unregister(self._sock)
                self._kill_at = -math.inf

    def _start(self, command: Command) -> None:
        reader, writer = os.pipe()
        minder = os.getpid()
        try:
            pid = fork()
        except OSError as error:
            self._report(FAILED, error.errno or 0, 0)
            self._exited = True
            return
        if pid == 0:
            _exec(minder, command, writer, self._tree)
        for fd in {writer, *command.stdio, *command.passed}:
            os.close(fd)
        self._pid, self._starting = pid, reader

    def _read_start(self) -> None:
        """The command has been started, or has said why not: the pipe closes itself on exec."""
        assert self._starting is not None
        failure = os.read(self._starting, _FAILURE.size)
        os.close(self._starting)
        self._starting = None
        if failure:
            self._report(FAILED, *_FAILURE.unpack(failure))
        else:
            self._report(STARTED, self._pid)

    def _read_orders(self) -> bool:
        """False when the warden is gone."""
        try:
            data = self._sock.recv(4096)
        except BlockingIOError:
            return True
        except OSError:
            return False
        if not data:
            return False
        self._orders += data
        whole = len(self._orders) - len(self._orders) % ORDER.size
        for what, value in ORDER.iter_unpack(self._orders[:whole]):
            match what:
                case b"V":
                    self._valid_until = value
                case b"S":
                    if value > 0:
                        self._terminate()
                    self._kill_at = min(self._kill_at, boottime() + value)
                case b"K" if self._pid and not self._exited:
                    os.kill(self._pid, int(value))
        self._orders = self._orders[whole:]
        return True

    def _reap(self) -> bool:
        """Reap what has ended; true when nothing is left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return self._exited and (self._tree or not self._group_lives())
            if pid == 0:
                return False
            if pid == self._pid and not self._exited:
                if self._starting is not None:
                    self._read_start()
                self._exited = True
                self._report(EXITED, os.waitstatus_to_exitcode(status))

    def _next_step(self) -> float | None:
        """Kill when it is time to; return the seconds until the next look, if one is needed."""
        now = boottime()
        at = min(self._kill_at, self._valid_until)
        if self._killing_since is None and now < at:
            self._alarm.set(None if at == math.inf else at)
            looks = [] if self._tree or not self._exited else [_LOOK_EVERY]
            timeout = self._alarm.timeout()
            return min(looks if timeout is None else [*looks, timeout], default=None)
        if self._killing_since is None:
            self._killing_since = now
            self._alarm.set(None)
        left = self._kill()
        if left and not self._complained and now > self._killing_since + _COMPLAIN_AFTER:
            self._complained = True
            say(f"cannot kill process {left[0]}; waiting for its end")
        return _LOOK_EVERY if self._complained else _KILL_EVERY

    def _terminate(self) -> None:
        if not self._tree:
            self._signal_group(signal.SIGTERM)
            return
        for proc in proctree.signal_tree(os.getpid(), signal.SIGTERM):
            # A stopped process would sleep through its chance to end well.
            with contextlib.suppress(PermissionError):
                proctree.signal_proc(proc, signal.SIGCONT)

    def _kill(self) -> list[int]:
        if self._tree:
            self._kill_children()
            return [proc.pid for proc in proctree.kill_tree(os.getpid())]
        self._signal_group(signal.SIGKILL)
        return [self._pid]

    def _kill_children(self) -> None:
        """Catch what flees by forking and exiting: no scan of /proc is as fast as that.

        Each time its parent exits, it becomes a child of ours. Their pids cannot have been
        reused, since nobody else reaps them.
        """
        end = boottime() + _CHASE
        while boottime() < end and not self._reap():
            for pid in proctree.own_children():
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)

    def _signal_group(self, sig: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._pid, sig)

    def _group_lives(self) -> bool:
        try:
            os.killpg(self._pid, 0)
        except (ProcessLookupError, PermissionError):
            return False
        return True

    def _report(self, what: bytes, a: int, b: int = 0) -> None:
        # Three short records at most: they fit, or the warden is gone and nobody wants them.
        with contextlib.suppress(OSError):
            self._sock.send(REPORT.pack(what, a, b))


def _exec(minder: int, command: Command, failures: int, tree: bool) -> NoReturn:
    """In the command's process: become the command, or write the reason why not to `failures`."""
    try:
        os.setsid()
        if tree:
            proctree.die_with_parent(minder, signal.SIGKILL)
        reset_signals()
        become(command, keep=failures)
    except ExecFailed as error:
        os.write(failures, _FAILURE.pack(error.errno, error.step))
    finally:
        # Nothing may unwind into the minder's frames.
        os._exit(127)
