"""Token buckets, one per caller. No I/O.

The number of buckets is bounded: past it, the one that was used longest ago is forgotten, and
its caller starts with a full one. That is the lesser evil: a memory that strangers can fill
would be the greater.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from hub.errors import TooMany

MAX_BUCKETS: Final = 10_000


class RateLimit:
    """`rate` per second on average, `burst` at once. A rate of 0 limits nothing."""

    def __init__(
        self,
        rate: float,
        burst: float,
        *,
        most: int = MAX_BUCKETS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rate = rate
        self._burst = burst
        self._most = most
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, caller: str, count: int = 1) -> float:
        """Takes `count`. Returns 0, or the seconds after which there are as many (and takes none).
        More than the burst are never there."""
        if self._rate <= 0:
            return 0.0
        now = self._clock()
        level, at = self._buckets.pop(caller, (self._burst, now))
        level = min(self._burst, level + (now - at) * self._rate)
        wait = 0.0
        if level >= count:
            level -= count
        else:
            wait = (count - level) / self._rate
        self._buckets[caller] = (level, now)
        if len(self._buckets) > self._most:
            self._buckets.popitem(last=False)
        return wait

    def require(self, caller: str, what: str, count: int = 1) -> None:
        """Takes `count`, or raises TooMany with the seconds after which to come back."""
        if (wait := self.take(caller, count)) > 0:
            raise TooMany(f"Too many {what}: at most {self._rate:g} a second.", wait)
