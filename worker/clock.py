"""The clock by which leases are counted: it goes on while the machine sleeps.

`CLOCK_MONOTONIC` stands still during a suspend on Linux, so a laptop that wakes after an hour would
believe that its leases still hold. `CLOCK_BOOTTIME` does not; nobody can set it, and all processes
of a machine read the same value, so a deadline can be passed from one to another.
"""

from __future__ import annotations

import ctypes
import os
import sys
import time

if sys.platform == "linux":

    def boottime() -> float:
        """Seconds since the machine started, suspends included. Comparable between processes."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

else:

    def boottime() -> float:
        """Seconds of the monotonic clock. Comparable between processes of one machine."""
        return time.monotonic()


_TFD_TIMER_ABSTIME = 1
_libc = ctypes.CDLL(None, use_errno=True)


class _ITimerSpec(ctypes.Structure):
    _fields_ = (
        ("interval_s", ctypes.c_long),
        ("interval_ns", ctypes.c_long),
        ("value_s", ctypes.c_long),
        ("value_ns", ctypes.c_long),
    )


class Alarm:
    """A file descriptor that turns readable at a chosen `boottime()`.

    The time-out of `poll` is counted on the monotonic clock and so sleeps through a suspend; a
    timerfd on CLOCK_BOOTTIME goes off at the moment of waking. Where there is none, `fd` is None
    and the caller lives by `timeout()` alone.
    """

    def __init__(self) -> None:
        self.at: float | None = None
        self.fd: int | None = None
        if sys.platform == "linux":
            # TFD_CLOEXEC and TFD_NONBLOCK have the values of the O_ flags.
            fd = _libc.timerfd_create(time.CLOCK_BOOTTIME, os.O_CLOEXEC | os.O_NONBLOCK)
            self.fd = fd if fd >= 0 else None

    def set(self, at: float | None) -> None:
        """Go off at `at` (boottime, seconds); None: not at all. A time in the past is at once."""
        if at == self.at:
            return
        self.at = at
        if self.fd is None:
            return
        spec = _ITimerSpec()
        if at is not None:
            # All zeros would disarm it.
            spec.value_s, spec.value_ns = max(0, int(at)), max(1, int(at % 1 * 1e9))
        _libc.timerfd_settime(self.fd, _TFD_TIMER_ABSTIME, ctypes.byref(spec), None)

    def timeout(self) -> float | None:
        """Seconds until it goes off, for `poll`; None when never, or when `fd` will tell."""
        if self.at is None or self.fd is not None:
            return None
        return max(0.0, self.at - boottime())
