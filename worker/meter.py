"""Counts how long jobs wait and run, for Prometheus: hubs answer it, workers know it."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from hub import keys
from hub.metrics.timings import Timings

log = logging.getLogger("jobcast.worker")

#: Seconds between two writes; nothing is written while nothing happens.
EVERY: Final = 2.0


class Meter:
    """The timings of one worker. What a killed worker has not written yet is lost, and what was
    written without an answer may be counted twice: these are metrics, not the truth."""

    def __init__(self, redis: Redis, every: float = EVERY) -> None:
        # redis-py types pipelines as sync or async; ours are async.
        self._redis: Any = redis
        self._every = every
        self._unwritten: dict[str, int] = {}
        self.timings = Timings()

    async def run(self) -> None:
        """Writes until cancelled. An outage of Redis is waited out: the numbers are kept."""
        while True:
            await asyncio.sleep(self._every)
            try:
                await self.write()
            except (RedisError, OSError) as error:
                log.debug("cannot write metrics while Redis is away: %s", error)

    async def write(self) -> None:
        """Adds what is new to the hash in Redis. Raises what the client raises."""
        for field, more in self.timings.take().items():
            self._unwritten[field] = self._unwritten.get(field, 0) + more
        if not self._unwritten:
            return
        pipe = self._redis.pipeline(transaction=False)
        for field, more in self._unwritten.items():
            pipe.hincrby(keys.METRICS, field, more)
        await pipe.execute()
        self._unwritten.clear()
