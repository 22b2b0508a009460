"""Adds up the metrics of hub processes that share a port: whichever is scraped answers for all.

Each process has a file of its own and rewrites it now and then. A process that takes over from a
dead one goes on counting where that one stopped, so that no sum ever falls.
"""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from hub.metrics.sample import Sample

log = logging.getLogger("jobcast.metrics")

#: Seconds between two writes of a process, and after which its gauges are not believed any more.
EVERY: Final = 2.0
STALE: Final = 3 * EVERY


class Posted(Struct):
    """A file: a sample and when it was made, by the clock that all processes share."""

    at: float
    sample: Sample


_decoder: Final = msgspec.msgpack.Decoder(Posted)


class Board:
    """The samples of all processes. Without a folder this is the only one.

    `slot` numbers the process; at most one at a time may have a slot. What a killed process
    counted after it last wrote is lost."""

    def __init__(self, folder: Path | None = None, slot: int = 0) -> None:
        self._folder = folder
        self._slot = slot
        before = self._read(slot)
        self._before = {} if before is None else before.sample.counters

    @property
    def shared(self) -> bool:
        """Whether there may be other processes."""
        return self._folder is not None

    def post(self, own: Sample) -> Sample:
        """Writes this process's sample down; returns it with what its predecessors counted. Where
        it cannot be written, that is logged."""
        whole = Sample(dict(self._before), dict(own.gauges))
        whole.add(Sample(own.counters))
        if self._folder is not None:
            path = self._path(self._slot)
            fresh = path.with_suffix(".new")
            try:
                fresh.write_bytes(msgspec.msgpack.encode(Posted(time.monotonic(), whole)))
                os.replace(fresh, path)
            except OSError as error:
                log.warning("cannot share metrics with the other processes: %s", error)
        return whole

    def total(self, own: Sample) -> Sample:
        """The sum of all processes, of which `own` is this one's."""
        total = self.post(own)
        if self._folder is None:
            return total
        now = time.monotonic()
        for path in sorted(self._folder.glob("*.metrics")):
            slot = int(path.stem)
            posted = None if slot == self._slot else self._read(slot)
            if posted is not None:
                alive = now - posted.at <= STALE
                total.add(posted.sample if alive else Sample(posted.sample.counters))
        return total

    def _path(self, slot: int) -> Path:
        assert self._folder is not None
        return self._folder / f"{slot}.metrics"

    def _read(self, slot: int) -> Posted | None:
        if self._folder is None:
            return None
        try:
            raw = self._path(slot).read_bytes()
        except FileNotFoundError:
            return None
        found: Any = _decoder.decode(raw)
        posted: Posted = found
        return posted
