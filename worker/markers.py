"""Lines by which a command tells its progress and its result. Pure.

A command whose task says ``output = "jobcast"`` may print, on stdout and each on a line of its own:

    ::jobcast progress 3/6 Copying files
    ::jobcast progress 45% Copying files
    ::jobcast result {"version": "1.4.0"}

They are kept out of the log. A line, and so the result, has at most 8 KiB; a
malformed one is just a line of the log.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import msgspec

__all__ = ["Progress", "Result", "read_marker"]

_PROGRESS = re.compile(
    r"::jobcast progress (?:"
    r"(?P<done>[0-9]{1,15})/(?P<total>[0-9]{1,15})|(?P<percent>[0-9]{1,3}(?:\.[0-9]{1,9})?)%)"
    r"(?: (?P<message>.*))?"
)
_RESULT = "::jobcast result "


class Progress(NamedTuple):
    """``current`` of ``total``; without a total, ``current`` is a percentage."""

    current: float
    total: int | None
    message: str | None


class Result(NamedTuple):
    """The job's result: any JSON value."""

    value: Any


def read_marker(line: str) -> Progress | Result | None:
    """What a line of stdout tells, or None when it is only a line."""
    line = line.rstrip()
    if line.startswith(_RESULT):
        try:
            return Result(msgspec.json.decode(line.removeprefix(_RESULT)))
        except (msgspec.DecodeError, RecursionError):
            return None
    found = _PROGRESS.fullmatch(line)
    if found is None:
        return None
    message = found["message"] or None
    if found["percent"] is not None:
        percent = float(found["percent"])
        return Progress(percent, None, message) if percent <= 100 else None
    current, total = int(found["done"]), int(found["total"])
    return Progress(current, total, message) if current <= total and total else None
