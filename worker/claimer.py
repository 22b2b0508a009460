"""The claim loop: takes jobs from queues whenever slots are free, and never stops trying."""

from __future__ import annotations

import asyncio
import logging
import os
import random
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, TypeVar

from redis.exceptions import RedisError

from hub.claims import Claim
from hub.transitions import Transitions
from worker.bell import Bell
from worker.clock import boottime
from worker.slots import Slots

log = logging.getLogger("jobcast.worker")

T = TypeVar("T")

#: Seconds for which an idle worker waits to be woken, at most, and after which it claims although
#: nothing woke it: the tick renews a mark that was lost, so this is for what nobody has thought of.
WAIT_SECONDS: Final = 10.0
#: Of a lease, how much may go by in waiting: it is counted from before.
_WAIT_SHARE: Final = 1 / 2
#: The same of what a wait may take longer than it should, by our clock and not by the server's,
#: which may be set back meanwhile; and what must be left for a job to be begun without renewing it.
_LATE_SHARE: Final = 1 / 5
_LEAST_SHARE: Final = 1 / 3
#: And in seconds, however long a lease is.
_LATE_SECONDS: Final = 2.0
#: Jobs that a claim takes which has waited: few, since who waits may be stopped or stuck meanwhile
#: and would hold them for a lease, and more than one, to tell a job from a rush of them.
_AFTER_WAITING: Final = 2
_FIRST_WAIT: Final = 0.05
_LONGEST_WAIT: Final = 2.0


class Claimer:
    """Claims jobs of `tasks` from `queues` into `slots`; `begin(claim, valid_until)` takes each
    over, with its slot. `valid_until` is on `boottime()`. While jobs come in numbers it claims one
    lot after another; when there were fewer than it had asked for it waits, with `bell`."""

    def __init__(
        self,
        transitions: Transitions,
        bell: Bell,
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
        self._bell = bell
        self._worker_id = worker_id
        self._queues = tuple(queues)
        self._tasks = tuple(tasks)
        self._lease = lease
        self._wait = min(WAIT_SECONDS, lease * _WAIT_SHARE)
        self._patience = self._wait + min(_LATE_SECONDS, lease * _LATE_SHARE)
        self._slots = slots
        self._begin = begin
        self._stop = stop
        self._pause = _FIRST_WAIT

    async def run(self) -> None:
        """Claims until `stop` is set. A claim that is under way then is still taken over: its
        reply must not be lost."""
        self._stopping = asyncio.ensure_future(self._stop.wait())
        rush = True
        try:
            while not self._stop.is_set():
                free = await self._unless_stopped(self._slots.take_free())
                if free is None:
                    return
                if not rush:
                    self._slots.give(max(0, free - _AFTER_WAITING))
                    free = min(free, _AFTER_WAITING)
                left = free
                try:
                    left -= await (self._claim(free) if rush else self._claim_later(free))
                finally:
                    self._slots.give(left)
                rush = not left
        finally:
            self._stopping.cancel()
            await self._bell.aclose()

    async def _claim_later(self, limit: int) -> int:
        """Claims once there is work, or after a while; or now, when the worker stops or a job
        wants its slot back."""
        request, sent = _request(), boottime()
        claiming = asyncio.ensure_future(
            self._bell.claim(
                self._wait,
                self._worker_id,
                request,
                queues=self._queues,
                tasks=self._tasks,
                lease=self._lease,
                limit=limit,
            )
        )
        wanted = asyncio.ensure_future(self._slots.wanted.wait())
        try:
            await asyncio.wait(
                {claiming, wanted, self._stopping},
                timeout=self._patience,
                return_when=asyncio.FIRST_COMPLETED,
            )
            while not claiming.done():
                # Again where it came before the claim had begun to wait.
                await self._bell.interrupt()
                await asyncio.wait({claiming}, timeout=_FIRST_WAIT)
            claims = await claiming
        except (RedisError, OSError) as error:
            begun = await self._claim(limit, request)
            if not begun:
                await self._hold_on(error)
            return begun
        finally:
            wanted.cancel()
            claiming.cancel()
        self._pause = _FIRST_WAIT
        return await self._begin_all(claims, sent)

    async def _hold_on(self, error: Exception) -> None:
        """Where claiming is possible and waiting is not, one would follow the other at once."""
        if self._slots.wanted.is_set():
            return
        if self._pause == 2 * _FIRST_WAIT:
            log.warning("cannot wait for work in Redis, so it is looked for: %s", error)
        await self._unless_stopped(asyncio.sleep(self._pause))
        self._pause = min(self._pause * 2, _LONGEST_WAIT)

    async def _begin_all(self, claims: Sequence[Claim], sent: float) -> int:
        valid_until = sent + self._lease
        if claims and boottime() > valid_until - self._lease * _LEAST_SHARE:
            claims, valid_until = await self._renewed(claims)
        for claim in claims:
            self._begin(claim, valid_until)
        return len(claims)

    async def _renewed(self, claims: Sequence[Claim]) -> tuple[Sequence[Claim], float]:
        """Those that are still this worker's, and until when: it heard of them so late that they
        would be stopped at their beginning."""
        sent = boottime()
        held = [(claim.job_id, claim.token) for claim in claims]
        try:
            statuses = await self._transitions.heartbeat("", self._lease, held)
        except (RedisError, OSError) as error:
            log.warning("%d jobs came late, and cannot be begun: %s", len(claims), error)
            return [], 0.0
        still = [c for c, status in zip(claims, statuses, strict=True) if status != "lost"]
        return still, sent + self._lease

    async def _claim(self, limit: int, request: str | None = None) -> int:
        """Claims now. `request` is that of a claim that may have been answered already."""
        # The same request again answers the same jobs, so that a lost reply strands none.
        lost = request is not None
        request = request or _request()
        wait = _FIRST_WAIT
        down = last = False
        while not last:
            # The reply of an attempt that failed may be what is lost, so there is one more.
            last = self._stop.is_set()
            if last and not (down or lost):
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
            return await self._begin_all(claims, sent)
        return 0

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


def _request() -> str:
    return os.urandom(12).hex()
