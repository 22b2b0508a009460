"""The claim loop: takes jobs from queues whenever slots are free, and never stops trying."""

from __future__ import annotations

import asyncio
import logging
import os
import random
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, TypeVar

from redis.exceptions import RedisError

from hub.transitions import Claim, Transitions
from worker.clock import boottime
from worker.slots import Slots

log = logging.getLogger("jobcast.worker")

T = TypeVar("T")

#: Seconds for which an idle worker waits to be woken, and after which it claims although nothing
#: woke it: the tick renews a mark that was lost, so this is for what nobody has thought of.
WAIT_SECONDS: Final = 5.0
IDLE_SECONDS: Final = 15.0
_FIRST_WAIT: Final = 0.05
_LONGEST_WAIT: Final = 2.0


class Claimer:
    """Claims jobs of `tasks` from `queues` into `slots`; `begin(claim, valid_until)` takes each
    over, with its slot. `valid_until` is on `boottime()`."""

    def __init__(
        self,
        transitions: Transitions,
        worker_id: str,
        *,
        queues: Sequence[str],
        tasks: Sequence[str],
        lease: float,
        slots: Slots,
        begin: Callable[[Claim, float], None],
        stop: asyncio.Event,
    ) -> None:
        self._transitions = transitions
        self._worker_id = worker_id
        self._queues = tuple(queues)
        self._tasks = tuple(tasks)
        self._lease = lease
        self._slots = slots
        self._begin = begin
        self._stop = stop

    async def run(self) -> None:
        """Claims until `stop` is set. A claim that is under way then is still taken over: its
        reply must not be lost."""
        self._stopping = asyncio.ensure_future(self._stop.wait())
        try:
            while not self._stop.is_set():
                free = await self._unless_stopped(self._slots.take_free())
                if free is None:
                    return
                left = free
                try:
                    left -= await self._claim(free)
                finally:
                    self._slots.give(left)
                if left:
                    await self._unless_stopped(self._wait())
        finally:
            self._stopping.cancel()

    async def _claim(self, limit: int) -> int:
        # The same request again answers the same jobs, so that a lost reply strands none.
        request = os.urandom(12).hex()
        wait = _FIRST_WAIT
        down = last = False
        while not last:
            # The reply of an attempt that failed may be what is lost, so there is one more.
            last = self._stop.is_set()
            if last and not down:
                break
            sent = boottime()
            try:
                claims = await self._transitions.claim(
                    self._worker_id,
                    request,
                    queues=self._queues,
                    tasks=self._tasks,
                    lease=self._lease,
                    limit=limit,
                )
            except (RedisError, OSError) as error:
                if not down:
                    log.warning("cannot claim while Redis is away: %s", error)
                    down = True
                await self._unless_stopped(asyncio.sleep(wait * random.uniform(0.5, 1.0)))
                wait = min(wait * 2, _LONGEST_WAIT)
                continue
            if down:
                log.info("Redis is back: claiming again")
            for claim in claims:
                self._begin(claim, sent + self._lease)
            return len(claims)
        return 0

    async def _wait(self) -> None:
        until = boottime() + IDLE_SECONDS
        try:
            while boottime() < until:
                if await self._transitions.wait_for_work(self._queues, WAIT_SECONDS):
                    return
        except (RedisError, OSError):
            # The claim that follows says so, and waits.
            return

    async def _unless_stopped(self, work: Coroutine[Any, Any, T]) -> T | None:
        """What `work` returns, or None when `stop` is set first."""
        task = asyncio.ensure_future(work)
        try:
            await asyncio.wait({task, self._stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait({task})
        return None if task.cancelled() else task.result()
