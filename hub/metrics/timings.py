"""How long jobs took, as workers write it to Redis and hubs read it: names and numbers in one
hash, so that the counts outlive both. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Final

from hub.histogram import LONG, Histogram
from hub.metrics.sample import ABOVE, SUM, Key, observed

PICKUP: Final = "jobcast_job_pickup_seconds"
RUN: Final = "jobcast_job_run_seconds"
RUNS: Final = "jobcast_job_runs_total"

#: Sums are kept as whole microseconds: what is added often must not round.
_MICROS: Final = 1_000_000


class Timings:
    """What one worker has seen since it last wrote it down; bounded by its tasks."""

    def __init__(self) -> None:
        self._times: dict[tuple[str, str], Histogram] = {}
        self._runs: dict[tuple[str, str], int] = {}

    def claimed(self, task: str, waited: float) -> None:
        """A job was claimed that had been due for `waited` seconds."""
        self._histogram(PICKUP, task).observe(waited)

    def ended(self, task: str, status: str, took: float) -> None:
        """A claim ended after `took` seconds; the job has this status now."""
        self._histogram(RUN, task).observe(took)
        self._runs[task, status] = self._runs.get((task, status), 0) + 1

    def _histogram(self, name: str, task: str) -> Histogram:
        return self._times.setdefault((name, task), Histogram(LONG))

    def take(self) -> dict[str, int]:
        """What to add to the hash, by field; nothing of it is kept here."""
        times = (observed(name, held, task) for (name, task), held in self._times.items())
        found: dict[str, int] = {}
        for key, value in chain.from_iterable(part.items() for part in times):
            whole = round(value * _MICROS) if key[-1] == SUM else int(value)
            if whole:
                found[" ".join(key)] = whole
        for (task, status), count in self._runs.items():
            found[f"{RUNS} {task} {status}"] = count
        self._times.clear()
        self._runs.clear()
        return found


def counters(fields: Mapping[bytes, bytes]) -> dict[Key, float]:
    """The hash as counters. Every histogram has all its bounds; fields that are none of ours are
    passed over."""
    found: dict[Key, float] = {}
    for key, value in _known(fields.items()):
        name, task, last = key
        if name in (PICKUP, RUN):
            if (name, task, SUM) not in found:
                found.update(observed(name, Histogram(LONG), task))
            found[key] = value / _MICROS if last == SUM else value
        else:
            found[key] = value
    return found


def _known(items: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[tuple[str, str, str], int]]:
    bounds = {*(f"{bound:g}" for bound in LONG), ABOVE, SUM}
    for field, value in items:
        match field.decode("utf-8", "replace").split(" "):
            case [name, task, last] if name == RUNS or (name in (PICKUP, RUN) and last in bounds):
                yield (name, task, last), int(value)
