"""What passes through a hub, counted: an integer for each event, nothing for each subscriber."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import Final, Literal

from hub.events import Publication
from hub.feed import Batch, Subscriber
from hub.histogram import Histogram

#: Where scripts put an event's time: before `data`, after ids of 128 characters at most.
_TIME_WITHIN: Final = 500
_TIME: Final = b'"time":"'

Resume = Literal["replayed", "snapshot", "fresh"]


class Flow:
    """Counts of one fanout, by the letter of an event's class (`L`, `P`, `G`) where there is one.

    `passed_over` are what lagging subscribers were not sent one by one: progress that a later
    one overtook, and logs that a gap marker stands for. `pubsub_lag` samples the seconds from an
    event's time, by Redis's clock, to its arrival; `probes` are round trips of the probe."""

    __slots__ = (
        "checked",
        "delivered",
        "passed_over",
        "probes",
        "pubsub_lag",
        "received",
        "repaired",
        "resumes",
        "sample",
    )

    def __init__(self) -> None:
        self.received: Counter[str] = Counter()
        self.delivered: Counter[str] = Counter()
        self.passed_over: Counter[str] = Counter()
        self.resumes: Counter[Resume] = Counter()
        self.checked = 0
        self.repaired = 0
        self.pubsub_lag = Histogram()
        self.probes = Histogram()
        #: Whether the next event's age is to be measured: once in a while is often enough.
        self.sample = True

    def sent(self, batch: Batch, times: int = 1) -> None:
        """A batch was handed to so many subscribers."""
        for publication in batch.publications:
            self.delivered[publication.kind] += times

    def missed(self, batch: Batch, subscribers: Iterable[Subscriber]) -> None:
        """Lagging subscribers will not get this batch as it is."""
        whole = 0
        for subscriber in subscribers:
            if subscriber.state != "lagging":
                continue
            if subscriber.job is None:
                whole += 1
            else:
                self._pass_over(batch.only(subscriber.job), 1)
        if whole:
            self._pass_over(batch, whole)

    def _pass_over(self, batch: Batch, times: int) -> None:
        for publication in batch.publications:
            if publication.kind != "L":
                self.passed_over[publication.kind] += times

    def greeted(self, after: bytes | None, resumed: bool) -> None:
        """A subscriber had its hello; `after` is where it wanted to resume."""
        self.resumes["fresh" if after is None else "replayed" if resumed else "snapshot"] += 1

    def measure(self, publication: Publication, offset_ms: int) -> None:
        """Takes an event's age as the sample; `offset_ms` is Redis's clock less ours."""
        start = publication.body.find(_TIME, 0, _TIME_WITHIN)
        if start < 0:
            return
        stamp = publication.body[start + len(_TIME) :][:24]
        try:
            published = datetime.fromisoformat(stamp.decode()).timestamp()
        except ValueError:
            return
        self.sample = False
        self.pubsub_lag.observe(max(0.0, time.time() + offset_ms / 1000 - published))
