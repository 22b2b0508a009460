"""Forking and becoming something else, leaving nothing of ours behind in the child."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, NoReturn

_ALL = signal.valid_signals()
# Those that we handle or ignore, and those that we came to ignored (nohup, and Python's own). To
# reset all 64 each time would be the dearest part of starting a command.
_TOUCHED = {sig for sig in _ALL if signal.getsignal(sig) is not signal.SIG_DFL} | {
    signal.SIGCHLD,
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGPIPE,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGTSTP,
}


class Command(NamedTuple):
    """What to run: argv, the whole environment, the directory, and descriptors (all above 2).

    `stdio` become descriptors 0 to 2; `passed` keep their numbers.
    """

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: str | None
    stdio: Sequence[int]
    passed: Sequence[int] = ()


def fork() -> int:
    """os.fork with signals held off: the child must call `reset_signals`, which lets them through.

    Until then a signal to the child would be noted in the wake-up socket that it shares with us.
    """
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _ALL)
    pid = -1
    try:
        pid = os.fork()
    finally:
        if pid != 0:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    return pid


def reset_signals() -> None:
    """Give a child of ours the signal handling of a fresh process."""
    signal.set_wakeup_fd(-1)
    for sig in _TOUCHED:
        signal.signal(sig, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def close_all(keep: Collection[int]) -> None:
    """Close every descriptor but those: what leaks into a command keeps pipes open for ever."""
    where = "/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"
    for name in os.listdir(where):
        if int(name) not in keep:
            with contextlib.suppress(OSError):
                os.close(int(name))


def say(text: str) -> None:
    """Write a line to stderr, which may be gone: that must not end a process others depend on."""
    with contextlib.suppress(OSError):
        os.write(2, f"jobcast: {text}\n".encode())


class ExecFailed(Exception):
    """`become` could not; `errno` is the system's reason, or 0, and `step` is what it was doing."""

    def __init__(self, errno: int, step: int) -> None:
        super().__init__(errno, step)
        self.errno = errno
        self.step = step


STEPS = ("", "cannot enter the directory: ", "")


def become(command: Command, keep: int) -> NoReturn:
    """Exec `command` in this process; exec closes the descriptor `keep`. Raises ExecFailed."""
    step = 0
    try:
        for target, fd in enumerate(command.stdio):
            os.dup2(fd, target)
        for fd in command.passed:
            os.set_inheritable(fd, True)
        close_all({0, 1, 2, keep, *command.passed})
        if command.cwd is not None:
            step = 1
            os.chdir(command.cwd)
        step = 2
        os.execvpe(command.argv[0], list(command.argv), dict(command.env))
    except OSError as error:
        raise ExecFailed(error.errno or 0, step) from error
    except ValueError as error:
        raise ExecFailed(0, step) from error
