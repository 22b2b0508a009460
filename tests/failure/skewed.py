"""A Redis whose clock can be stepped: every script adds what the key `skew` says (ms) to the time.

The embedded server cannot be given a clock of its own, so this is done where all of Jobcast reads
it: in the one place of the scripts. Importing this module changes them for its process; a worker
that serves `tests.failure.skewed` therefore runs with the same clock as the test."""

from __future__ import annotations

from hub import keys, scripts
from tests.failure.worker_under_fire import first_time_slow, once

__all__ = ["first_time_slow", "once"]

SKEW = keys.PREFIX + "skew"
_CLOCK = "clock = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)"
_plain = scripts._file


def _skewed(name: str) -> str:
    source = _plain(name)
    if name == "prelude":
        assert source.count(_CLOCK) == 1
        source = source.replace(_CLOCK, f"{_CLOCK} + tonumber(redis.call('GET', P .. 'skew') or 0)")
    return source


def install() -> None:
    """Makes scripts that are loaded from now on read the stepped clock."""
    scripts._file = _skewed  # type: ignore[assignment]


def uninstall() -> None:
    """Undoes `install`."""
    scripts._file = _plain


install()
