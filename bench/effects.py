"""What the tasks of a measured system leave behind: one fixed record per start, appended to a file.

The same for every system, and kept even when the worker is killed in the next instant.
"""

from __future__ import annotations

import os
import struct
import time
from pathlib import Path
from typing import NamedTuple

RECORD = struct.Struct("<qqq")
VARIABLE = "BENCH_EFFECTS"

_fd = -1


class Effect(NamedTuple):
    """A job's number, when it was due and when its code started (ns, one clock for all
    processes of the machine)."""

    number: int
    due: int
    started: int


def record(number: int, due: int) -> None:
    """Says that a job's code has started."""
    global _fd
    if _fd < 0:
        _fd = os.open(os.environ[VARIABLE], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(_fd, RECORD.pack(number, due, time.monotonic_ns()))


def count(path: Path) -> int:
    """How many records there are."""
    return path.stat().st_size // RECORD.size if path.exists() else 0


def read(path: Path) -> list[Effect]:
    """All records, in the order of their starts."""
    found = [Effect(*fields) for fields in RECORD.iter_unpack(path.read_bytes())]
    return sorted(found, key=lambda effect: effect.started)
