"""`jobcast hub --workers N`: processes that share one listening socket, under one parent.

They accept from the same socket, so that a process which ends refuses nobody: who has not been
accepted yet is accepted by another one. The parent does nothing but start them, pass signals on
and start again what dies.
"""

from __future__ import annotations

import logging
import os
import select
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

from hub.errors import SettingsError
from hub.metrics.board import Board
from hub.server import SHUTDOWN_GRACE, Server, url_of
from hub.settings import Settings
from hub.streams import CLOSE_GRACE

log = logging.getLogger("jobcast")

MOST: Final = 64
BACKLOG: Final = 2048
#: Seconds that a process has to drain and end before it is killed.
PATIENCE: Final = CLOSE_GRACE + SHUTDOWN_GRACE + 5
FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 30.0
#: A process that has lived for so long, in seconds, did not die of its start.
SOUND: Final = 60.0
_LOOK: Final = 0.5


class _Slot:
    """A place for one process."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.pid = 0
        self.ready = False
        self.began = 0.0
        self.pause = FIRST_PAUSE
        self.start_at = 0.0


class Prefork:
    """`count` hub processes. `ready(url)` is called once all of them answer."""

    def __init__(self, settings: Settings, count: int, ready: Callable[[str], None]) -> None:
        if not hasattr(os, "fork"):
            raise SettingsError("--workers needs a system with fork; start several hubs instead.")
        if not 1 <= count <= MOST:
            raise SettingsError(f"--workers must be from 1 to {MOST}.")
        self._signals = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
        self._settings = settings
        self._ready = ready
        self._slots = [_Slot(number) for number in range(count)]
        self._listener = _listen(settings)
        self._folder = Path(tempfile.mkdtemp(prefix="jobcast-hub-"))
        # Children write their slot's number when they are ready, and see the parent's end by the
        # end of its pipe.
        self._news, self._tell = os.pipe()
        self._lifeline, self._alive = os.pipe()
        self._woken, self._wake = os.pipe()
        self._parents = (self._news, self._alive, self._woken, self._wake)
        self._pipes = (*self._parents, self._tell, self._lifeline)
        for fd in (self._woken, self._wake, self._news):
            os.set_blocking(fd, False)
        self._told = False
        self._stopping = 0
        self._kill_at = float("inf")
        self._status = 0

    def run(self) -> int:
        """Serves until SIGTERM or SIGINT; a second one kills. Returns the exit status: that of
        the first process which could not even start, or 0."""
        signal.set_wakeup_fd(self._wake)
        before = {number: signal.signal(number, _heard) for number in self._signals}
        try:
            while True:
                self._start_due()
                select.select([self._woken, self._news], [], [], _LOOK)
                self._hear_signals()
                self._hear_news()
                self._reap()
                if self._stopping and not any(slot.pid for slot in self._slots):
                    return self._status
                if time.monotonic() >= self._kill_at:
                    log.warning("killing hub processes that did not end in %g s", PATIENCE)
                    self._signal(signal.SIGKILL)
        finally:
            signal.set_wakeup_fd(-1)
            for number, handler in before.items():
                signal.signal(number, handler)
            self._listener.close()
            for fd in self._pipes:
                os.close(fd)
            shutil.rmtree(self._folder, ignore_errors=True)

    # ------------------------------------------------------------------ the parent

    def _start_due(self) -> None:
        for slot in self._slots:
            if not slot.pid and not self._stopping and time.monotonic() >= slot.start_at:
                slot.began, slot.ready = time.monotonic(), False
                # Until it is a process of its own, a child would take a signal for the parent, who
                # would hear it twice.
                signal.pthread_sigmask(signal.SIG_BLOCK, self._signals)
                slot.pid = os.fork()
                if not slot.pid:
                    self._become(slot.number)
                signal.pthread_sigmask(signal.SIG_UNBLOCK, self._signals)

    def _hear_signals(self) -> None:
        for number in _drain(self._woken):
            if number != signal.SIGCHLD:
                self._stop()

    def _stop(self) -> None:
        self._stopping += 1
        if self._stopping == 1:
            log.info("draining %d hub processes", len(self._slots))
            self._kill_at = time.monotonic() + PATIENCE
            self._signal(signal.SIGTERM)
        else:
            self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        for slot in self._slots:
            if slot.pid:
                os.kill(slot.pid, number)

    def _hear_news(self) -> None:
        for number in _drain(self._news):
            self._slots[number].ready = True
        if not self._told and all(slot.ready for slot in self._slots):
            self._told = True
            self._ready(url_of(self._listener))

    def _reap(self) -> None:
        for slot in self._slots:
            if not slot.pid:
                continue
            pid, raw = os.waitpid(slot.pid, os.WNOHANG)
            if not pid:
                continue
            status = os.waitstatus_to_exitcode(raw)
            slot.pid = 0
            if self._stopping:
                continue
            if not self._told:
                # What cannot start will not start by trying again, and somebody is looking.
                log.error("a hub process could not start (status %d)", status)
                self._status = status if status > 0 else 1
                self._stop()
                continue
            if time.monotonic() - slot.began > SOUND:
                slot.pause = FIRST_PAUSE
            log.error("hub process %d ended (status %d); another follows", pid, status)
            slot.start_at = time.monotonic() + slot.pause
            slot.pause = min(2 * slot.pause, LONGEST_PAUSE)

    # ------------------------------------------------------------------ a child

    def _become(self, number: int) -> NoReturn:
        """Turns a fresh child into a hub process."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            for known in self._signals:
                signal.signal(known, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, self._signals)
            # A terminal's Ctrl-C is for the parent, which says it once.
            os.setpgid(0, 0)
            for fd in self._parents:
                os.close(fd)
            server = Server(
                self._settings,
                ready=lambda _: self._say_ready(number),
                board=Board(self._folder, number),
                lifeline=self._lifeline,
            )
            server.run(sockets=[self._listener])
            status = 0
        except SystemExit as error:
            status = error.code if isinstance(error.code, int) else 1
        except BaseException:
            log.exception("a hub process failed")
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def _say_ready(self, number: int) -> None:
        os.write(self._tell, bytes([number]))


def _heard(number: int, frame: FrameType | None) -> None:
    """Signals are read from the wake-up pipe; without a handler they would end the process."""


def _drain(fd: int) -> bytes:
    try:
        return os.read(fd, 4096)
    except BlockingIOError:
        return b""


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    host = settings.host.strip("[]")
    try:
        return socket.create_server((host, settings.port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise SettingsError(
            f"Cannot listen on {settings.host}:{settings.port}: {error.strerror or error}."
        ) from None
