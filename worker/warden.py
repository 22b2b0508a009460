"""The warden: the worker's tiny parent process, which keeps what the worker's jobs start.

    python -m worker.warden -- WORKER ARGV…

It starts the worker, forwards SIGTERM and SIGINT to it, and starts a fresh one when it dies. On
Linux it is a subreaper, and so are its minders (see `worker.minder`), forks of it: one for each
command, and one for the worker itself. So what a command leaves behind is known to be its job's,
and is killed when the job is over, when the job's deadline passes, and when the worker dies,
however it dies. It needs nothing from the worker for that: one that was stopped, blocked or killed
makes no difference. The minders need nothing from the warden either: when it dies, they kill what
they mind, the worker too.

What it cannot cover: processes that others start on a job's behalf (systemd-run, docker, at), those
of another user (sudo: they are waited for, but cannot be killed), and a command that kills the
warden and its own minder. Where there are no subreapers (macOS), a command is known by its process
group: what leaves the group by setsid is not found.

The protocol, over a stream socket whose number is in the worker's `JOBCAST_WARDEN_FD`: one JSON
object per line, at most 4 MiB. Times are seconds of `clock.boottime()`, graces seconds from now.

| worker → warden | means |
|---|---|
| `ready` | start-up went well: start a new worker if this one ends with a status other than 0 |
| `begin {job, at}` | the job is known from now, and valid until `at` (null: no deadline) |
| `valid {job, at}` | the same for a job that is known; without effect for others |
| `start {id, job, argv, env, cwd}` | run a command; stdin, stdout, stderr come along (SCM_RIGHTS) |
| `stop {id, grace}` | TERM to a command and all that came of it, KILL after `grace` |
| `end {job, grace}` | `stop` for all that is left of the job; then forget it |

| warden → worker | means |
|---|---|
| `started {id, pid}`, or `failed {id, errno, message}` | it runs; it never ran |
| `exited {id, code}` | its exit status, negative for a signal; what it left may live on |
| `gone {id}` | nothing that came of it is alive (follows `exited`) |
| `ended {job}` | the same of the whole job |

A job whose deadline passes is killed at once, without TERM. When the worker has not even sent `end`
by then, it is frozen or stuck, so all children of the worker process are killed as well.
"""

from __future__ import annotations

import gc
import math
import os
import select
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from worker import proctree
from worker.clock import Alarm, boottime
from worker.custody import Custody
from worker.forks import STEPS, Command, say
from worker.minder import EXITED, FAILED, SIGNAL, STARTED, STOP, Handle, spawn

FD_VARIABLE = "JOBCAST_WARDEN_FD"

#: Exit status of a worker that wants to be started anew at once: its source has changed.
EXIT_RELOAD = 76

_STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# A worker that lived this long has started well: the next death begins the backoff anew.
_LONG_LIFE = 30.0
_BACKOFF_FIRST, _BACKOFF_LAST = 0.1, 10.0
# What cannot be killed (uninterruptible, another user's) must not keep a new worker from starting.
_CLEAN_UP = 10.0


def launcher(*args: str) -> list[str]:
    """The command line of a warden: a Python of its own that imports next to nothing."""
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    code = "import sys; sys.path.append(sys.argv[1]); from worker.warden import main; "
    return [sys.executable, "-I", "-S", "-c", code + "sys.exit(main(sys.argv[2:]))", root, *args]


def exec_warden(argv: Sequence[str]) -> NoReturn:
    """Turn this process into a warden whose worker is started as `argv`."""
    sys.stdout.flush()
    sys.stderr.flush()
    command = launcher("--", *argv)
    os.execv(command[0], command)


def run_warden(argv: Sequence[str]) -> int:
    """Be the warden of a worker started as `argv`; return the exit status to end with.

    It has to be called in the main thread of a process that has no other. Forks of this process
    mind the commands, so it should have imported little: `exec_warden` sees to that.
    """
    return Warden(tree=proctree.SUBREAPERS).supervise(argv)


class Warden:
    """The warden's loop."""

    def __init__(self, *, tree: bool) -> None:
        self._tree = tree
        if tree:
            proctree.become_subreaper()
            proctree.set_name("jobcast-warden")
        self._poll = select.poll()
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._alarm = Alarm()
        if self._alarm.fd is not None:
            self._watch(self._alarm.fd, lambda: self._alarm.set(None), select.POLLIN)
        self._wake, self._wake_writer = socket.socketpair()
        self._custody: Custody | None = None
        self._worker: Handle | None = None
        self._worker_pid = 0
        self._code: int | None = None
        self._stops = 0
        self._listen_to_signals()
        # What is there now is shared with all minders; the collector would only unshare it.
        gc.freeze()

    def supervise(self, argv: Sequence[str]) -> int:
        """Keep a worker running until it is asked to stop, or ends of its own accord."""
        backoff = _BACKOFF_FIRST
        while True:
            born = boottime()
            try:
                custody = self._start_worker(argv)
            except OSError as error:
                how = f"could not be forked ({error.strerror})"
            else:
                while self._code is None:
                    self._turn()
                code, asked = self._code, self._stops > 0
                self._clear(custody)
                if asked:
                    return code if code >= 0 else 128 - code
                if code == 0 or (code > 0 and not custody.ready):
                    return code
                if code == EXIT_RELOAD:
                    continue
                how = f"ended with status {code}" if code > 0 else f"was killed by signal {-code}"
            if boottime() - born > _LONG_LIFE:
                backoff = _BACKOFF_FIRST
            say(f"the worker {how}; a new one starts in {backoff:g} s")
            again = boottime() + backoff
            while boottime() < again and not self._stops:
                self._turn(again - boottime())
            if self._stops:
                return 0
            backoff = min(backoff * 2, _BACKOFF_LAST)

    def serve(self, sock: socket.socket) -> int:
        """Keep the jobs of whoever is at the other end, until it closes."""
        custody = self._custody = Custody(sock, self._watch, lambda: False, tree=self._tree)
        while not custody.closed and not self._stops:
            self._turn()
        self._clear(custody)
        return 0

    def _clear(self, custody: Custody) -> None:
        custody.abandon()
        end = boottime() + _CLEAN_UP
        while (self._worker is not None or not custody.empty) and boottime() < end:
            self._turn(end - boottime())
        if self._worker is not None:
            # Its minder goes on by itself.
            self._let_go(self._worker)

    def _start_worker(self, argv: Sequence[str]) -> Custody:
        """Start it under a minder of its own, so that its own children are known to be its own.

        That also puts it in a session of its own: Ctrl-C reaches it once, through the warden.
        """
        ours, theirs = socket.socketpair()
        env = {**os.environ, FD_VARIABLE: str(theirs.fileno())}
        stdio = os.open(os.devnull, os.O_RDONLY), os.dup(1), os.dup(2)
        command = Command(argv, env, None, stdio, passed=(theirs.fileno(),))
        self._code, self._worker_pid = None, 0
        try:
            self._worker = spawn(command, tree=self._tree)
        except OSError:
            ours.close()
            raise
        finally:
            for fd in stdio:
                os.close(fd)
            theirs.close()
        self._watch(self._worker.fileno(), self._hear_worker, select.POLLIN)
        self._custody = Custody(ours, self._watch, self._purge, tree=self._tree)
        return self._custody

    def _hear_worker(self) -> None:
        """Hear from the worker's minder how it does."""
        if self._worker is None:
            return
        fd = self._worker.fileno()
        for what, a, b in self._worker.reports():
            if what == STARTED:
                self._worker_pid = a
            elif self._code is None:
                self._code = a if what == EXITED else 127
                if what == FAILED:
                    say(f"cannot start the worker: {STEPS[b]}{os.strerror(a)}")
                # What it leaves behind has no job any more.
                self._worker.order(STOP, 0)
        if self._worker.fileno() < 0:
            self._watch(fd, None, 0)

    def _purge(self) -> bool:
        if self._worker is None or not self._tree:
            return False
        kill, worker = signal.SIGKILL, self._worker_pid
        orphans = proctree.signal_tree(self._worker.pid, kill, spare={worker})
        return bool(orphans or (worker and proctree.signal_tree(worker, kill)))

    def _turn(self, limit: float | None = None) -> None:
        """Wait for something to happen, at most `limit` seconds, and do it."""
        at, pauses = math.inf, [] if limit is None else [limit]
        if self._custody is not None:
            minders = self._custody.minders() | ({self._worker.pid} if self._worker else set())
            at, pause = self._custody.step(minders)
            pauses += [] if pause is None else [pause]
        self._alarm.set(None if at == math.inf else at)
        timeout = self._alarm.timeout()
        pauses += [] if timeout is None else [timeout]
        wait = max(0.0, min(pauses)) * 1000 if pauses else None
        for fd, _ in self._poll.poll(wait):
            if (callback := self._callbacks.get(fd)) is not None:
                callback()

    def _watch(self, fd: int, callback: Callable[[], None] | None, events: int) -> None:
        if callback is not None:
            self._callbacks[fd] = callback
            self._poll.register(fd, events)
        elif self._callbacks.pop(fd, None) is not None:
            self._poll.unregister(fd)

    def _listen_to_signals(self) -> None:
        for end in (self._wake, self._wake_writer):
            end.setblocking(False)
        signal.set_wakeup_fd(self._wake_writer.fileno(), warn_on_full_buffer=False)
        for sig in (signal.SIGCHLD, *_STOPS):
            signal.signal(sig, lambda *_: None)
        # Ctrl-Z would stop the warden alone, and the worker would run on without it.
        signal.signal(signal.SIGTSTP, signal.SIG_IGN)
        self._watch(self._wake.fileno(), self._hear_signals, select.POLLIN)

    def _hear_signals(self) -> None:
        for number in self._wake.recv(4096):
            if number in _STOPS:
                self._stop(number)
        self._reap()

    def _stop(self, sig: int) -> None:
        self._stops += 1
        if sig == signal.SIGHUP:
            # A worker knows two ways to be asked, and the terminal's end is no third.
            sig = signal.SIGTERM
        if self._worker is not None:
            # The first asks it to finish, the second to let go, a third means it.
            self._worker.order(SIGNAL, sig if self._stops < 3 else signal.SIGKILL)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if self._worker is not None and pid == self._worker.pid:
                self._worker_gone(status)
            elif self._custody is not None:
                self._custody.reaped(pid, status)

    def _worker_gone(self, status: int) -> None:
        assert self._worker is not None
        self._hear_worker()
        self._let_go(self._worker)
        if self._code is None:
            self._code = -signal.SIGKILL
        if status != 0 and self._custody is not None:
            self._custody.sweep()

    def _let_go(self, worker: Handle) -> None:
        self._watch(worker.fileno(), None, 0)
        worker.close()
        self._worker = None


def main(args: Sequence[str]) -> int:
    """`-- ARGV…`: be a worker's warden. `--serve FD [--groups]`: keep jobs for the peer on FD."""
    # Descriptors 0 to 2 are taken for standard ones everywhere below, so they had better be.
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(fd)
    match args:
        case ["--", *argv] if argv:
            return run_warden(argv)
        case ["--serve", number, *rest] if rest in ([], ["--groups"]):
            sock = socket.socket(fileno=int(number))
            sock.set_inheritable(False)
            return Warden(tree=proctree.SUBREAPERS and not rest).serve(sock)
    say("usage: python -m worker.warden -- WORKER ARGV…")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
