"""The tick: housekeeping that hubs and workers run alike."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import Any, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import RedisError

from hub.errors import JobcastError
from hub.scheduler import Scheduler
from hub.scripts import Scripts, text

log = logging.getLogger("jobcast.tick")

INTERVAL = 0.5
#: While nothing is due, and between two looks of one that follows: short enough for the death of
#: a leader to leave no gap (tick.lua), long enough for an idle process to cost next to nothing.
CALM_INTERVAL = 0.95
LEAD = 1.0
BATCH = 200


class Tick(NamedTuple):
    """What one tick did: `role` is led, follows or holds (led, but reaped nothing). `schedules` are
    those that are due, for the leader to fire. `calm` is 1 when nothing known is due within a
    second, or when it is another one's to see to."""

    role: str
    reaped: int
    promoted: int
    expired: int
    unparked: int
    forgotten: int
    schedules: int
    calm: int

    @property
    def full(self) -> bool:
        """Whether there may be more of the same to do at once."""
        return max(self[1:5]) >= BATCH


class Ticker:
    """Runs the tick every half second, or every second while nothing is due; one of all tickers
    leads at a time, and fires schedules."""

    def __init__(self, redis: Redis, scripts: Scripts, scheduler: Scheduler | None = None) -> None:
        self._redis = redis
        self._scripts = scripts
        self._scheduler = scheduler
        self._id = os.urandom(8).hex()

    async def once(self) -> Tick:
        """One tick. Raises what the client raises."""
        reply: list[Any] = await self._scripts.run(
            self._redis, "tick", self._id, int(LEAD * 1000), BATCH
        )
        return Tick(text(reply[0]), *(int(count) for count in reply[1:]))

    async def run(self) -> None:
        """Ticks until cancelled. An outage of Redis is waited out; what is more than one tick may
        do is gone on with at once, so that each stays short and none is behind for long."""
        down = False
        while True:
            pause = INTERVAL
            try:
                tick = await self.once()
                if down:
                    log.info("Redis is back: ticking again")
                    down = False
                if tick.reaped:
                    log.warning("took %d jobs from workers that went silent", tick.reaped)
                if tick.full:
                    pause = 0.0
                elif tick.calm:
                    pause = CALM_INTERVAL
                if tick.schedules and self._scheduler is not None:
                    await self._fire(self._scheduler)
            except (RedisError, OSError) as error:
                if not down:
                    log.warning("cannot tick while Redis is away: %s", error)
                    down = True
            await asyncio.sleep(pause)

    async def _fire(self, scheduler: Scheduler) -> None:
        try:
            await scheduler.fire()
        except JobcastError as error:
            log.warning("schedules are late: %s", error)
