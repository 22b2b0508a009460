"""Process trees on Linux: who descends from whom, and how to signal all of them.

A *subreaper* adopts the orphans among its descendants in place of init, so whatever its children
leave behind (daemons that called setsid, double forks) stays below it and can be found in /proc.
Where there is none (`SUBREAPERS` is false), only process groups are left to go by.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Collection, Iterable
from typing import NamedTuple

SUBREAPERS = sys.platform == "linux"

# <linux/prctl.h>
_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36


_libc = ctypes.CDLL(None, use_errno=True)


def _prctl(option: int, argument: int | bytes) -> None:
    if SUBREAPERS and _libc.prctl(option, argument, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}) failed")


def become_subreaper() -> None:
    """Adopt the orphans among this process's descendants."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(parent: int, sig: int) -> None:
    """Have the kernel send `sig` here when `parent` ends; also when it has ended already.

    It survives exec, but not that of a set-user-ID program.
    """
    _prctl(_PR_SET_PDEATHSIG, sig)
    if SUBREAPERS and os.getppid() != parent:
        os.kill(os.getpid(), sig)


def set_name(name: str) -> None:
    """Name this process (15 bytes) for ps and top."""
    _prctl(_PR_SET_NAME, name.encode())


class Proc(NamedTuple):
    """A line of /proc/<pid>/stat; pid and `start` together name a process for ever."""

    pid: int
    parent: int
    group: int
    start: int
    alive: bool


def read_proc(pid: int) -> Proc | None:
    """Read one process; None when there is none. A zombie is not alive."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            stat = file.read(1024)
    except OSError:
        return None
    # The name, in parentheses, may hold anything, also parentheses.
    fields = stat[stat.rindex(b")") + 2 :].split()
    return Proc(pid, int(fields[1]), int(fields[2]), int(fields[19]), fields[0] not in b"ZX")


def scan() -> list[Proc]:
    """Read every process there is."""
    pids = (int(name) for name in os.listdir("/proc") if name.isdigit())
    return [proc for pid in pids if (proc := read_proc(pid)) is not None]


def below(root: int, procs: Iterable[Proc], spare: Collection[int] = ()) -> list[Proc]:
    """Pick what lives below `root`, without the processes in `spare` and what is below those. Pure.

    Processes are a moving picture: what was forked during the scan may be missed, so look again.
    """
    children: dict[int, list[Proc]] = {}
    for proc in procs:
        children.setdefault(proc.parent, []).append(proc)
    found, roots = [], [root]
    while roots:
        for proc in children.get(roots.pop(), ()):
            if proc.pid not in spare:
                roots.append(proc.pid)
                found.append(proc)
    return [proc for proc in found if proc.alive]


def own_children() -> list[int]:
    """The pids of this single-threaded process's children; [] where the kernel cannot tell."""
    try:
        with open("/proc/thread-self/children", "rb", buffering=0) as file:
            return [int(pid) for pid in file.read(4096).rsplit(b" ", 1)[0].split()]
    except OSError:
        return []


def signal_proc(proc: Proc, sig: int) -> None:
    """Signal this very process, not another that got its pid since. Raises PermissionError."""
    with contextlib.suppress(ProcessLookupError):
        if sys.platform != "linux":
            os.kill(proc.pid, sig)
            return
        fd = os.pidfd_open(proc.pid)
        try:
            now = read_proc(proc.pid)
            if now is not None and now.start == proc.start:
                signal.pidfd_send_signal(fd, sig)
        finally:
            os.close(fd)


def signal_tree(root: int, sig: int, spare: Collection[int] = ()) -> list[Proc]:
    """Signal every process below `root` once; return those that were alive.

    Processes that may not be signalled (another user's) are in the list like the others.
    """
    found = below(root, scan(), spare)
    for proc in found:
        with contextlib.suppress(PermissionError):
            signal_proc(proc, sig)
    return found


def kill_tree(root: int, spare: Collection[int] = ()) -> list[Proc]:
    """One pass of killing what is below `root`: repeat until it finds nothing alive.

    Groups come first: the kernel kills a whole group in one go, so that processes which fork as
    fast as they can do not outrun the pass. A group with members elsewhere is left alone.
    """
    procs = scan()
    found = below(root, procs, spare)
    elsewhere = {proc.group for proc in set(procs) - set(found) if proc.alive}
    for group in {proc.group for proc in found} - elsewhere:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
    for proc in found:
        with contextlib.suppress(PermissionError):
            signal_proc(proc, signal.SIGKILL)
    return found
