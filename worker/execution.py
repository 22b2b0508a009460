"""One claim from its beginning to its end: the code runs, is stopped where it must be, and what
came of it is written once nothing of it is alive."""

from __future__ import annotations

import asyncio
import enum
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from redis.exceptions import RedisError

from hub.claims import Claim
from hub.errors import Conflict, StaleToken
from hub.settings import Settings
from hub.transitions import Transitions
from worker.children import Children
from worker.clock import boottime
from worker.code import STOPPED, Code, start_code
from worker.epilogue import LastWord
from worker.leases import Held, Leases, Word
from worker.link import LocalLink
from worker.outcome import Outcome, invalid, raised, timed_out
from worker.persist import persist
from worker.processes import Processes, WardenLost
from worker.reporter import Reporter
from worker.signature import InvalidParams
from worker.slots import Slots
from worker.tasks import Task

log = logging.getLogger("jobcast.worker")

#: Seconds between CancelledError and TERM, and KILL.
STOP_GRACE: Final = 5.0
#: Seconds past its grace after which code is told again, and then given up.
_AGAIN: Final = 2.0
#: Of a lease that cannot be renewed, what is kept for the last moments, in seconds.
_FENCE_REST: Final = 0.1


class Why(enum.Enum):
    """Why code is stopped before its end."""

    CANCEL = "it was cancelled"
    TIMEOUT = "it took too long"
    FENCE = "its lease could not be renewed"
    RELEASE = "its worker stops"
    LOST = "its claim is over"


#: After these the job runs again, and finds the jobs that it waited for.
_COMES_BACK: Final = (Why.FENCE, Why.RELEASE, Why.LOST)


@dataclass
class Workshop:
    """What all executions of a worker share. `give_up(execution)` is told of code that does not
    stop; once `draining`, a job that asks is given back."""

    settings: Settings
    transitions: Transitions
    processes: Processes
    leases: Leases
    slots: Slots
    children: Children
    give_up: Callable[[Execution], None]
    stop_grace: float = STOP_GRACE
    draining: bool = False


class Execution:
    """Runs one claim. `run` is to be called once; `stop` may be called at any time. `status` is
    what the job has become by it in the end, `lost` where that is up to others."""

    def __init__(self, shop: Workshop, claim: Claim, task: Task, valid_until: float) -> None:
        self.claim = claim
        self.status = "lost"
        self._shop = shop
        self._task = task
        self._why: Why | None = None
        self._settling = self._over = self._paused = False
        self._has_slot = True
        self._lent = self._ahead = False
        self._code: Code | None = None
        self._outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._endings: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._second_look: asyncio.TimerHandle | None = None
        self._left = claim.timeout if claim.timeout is not None else task.timeout
        self._limit = self._left
        self._due = 0.0
        self._held = Held(claim.job_id, claim.token, valid_until, self._hear, self.last_word)
        self._reporter = Reporter(
            shop.transitions,
            claim.job_id,
            claim.token,
            claim.log_lines,
            shop.settings.log_line_bytes,
            lambda: self.stop(Why.LOST),
        )
        self._link = LocalLink(
            claim,
            self._held,
            self._reporter,
            shop.transitions,
            shop.processes,
            shop.children,
            value_bytes=shop.settings.result_bytes,
            on_stale=lambda: self.stop(Why.LOST),
            on_cancelling=lambda: self.stop(Why.CANCEL),
            keeps_children=lambda: self._why in _COMES_BACK,
            pause=self._pause,
            resume=self._resume,
        )

    @property
    def waiting(self) -> bool:
        """Whether it waits for a person or for other jobs."""
        return self._paused

    @property
    def told_to_stop(self) -> bool:
        """Whether its code has been told to stop."""
        return self._why is not None

    async def run(self) -> None:
        """Returns when nothing of the job is alive and what came of it is written, or when the
        claim turned out to be over."""
        self._shop.leases.add(self._held)
        try:
            outcome = await self._perform()
            self._settling = True
            await self._settle(outcome)
        except StaleToken:
            log.info("job %s: its claim is over, so nothing was written", self.claim.job_id)
        except WardenLost as error:
            log.warning("job %s is left to the next worker: %s", self.claim.job_id, error)
        finally:
            self._held.alive = False
            self._over = True
            self._shop.leases.drop(self._held)
            await self._reporter.abandon()
            if self._endings:
                await asyncio.gather(*self._endings, return_exceptions=True)
            if self._has_slot:
                self._shop.slots.give()
            elif self._ahead:
                self._shop.slots.caught_up()
            elif self._lent:
                self._shop.slots.forget_lent()

    def last_word(self) -> LastWord:
        """What is to be said of the job when this process ends before its code does. May be asked
        by any thread."""
        held, why = self._held, self._why
        outcome = self._outcome.result() if self._outcome.done() else STOPPED
        if outcome.kind == "stopped" and why is None and boottime() >= held.overdue:
            # The event loop, which would have said so, is stuck.
            why = Why.CANCEL if held.status == "cancelling" else Why.TIMEOUT
        if outcome.kind == "stopped" and why is Why.CANCEL:
            script, args = "finish", ["cancelled", "", ""]
        else:
            if outcome.kind == "stopped" and why is Why.TIMEOUT:
                outcome = self._timed_out()
            script, args = outcome.script()
        return LastWord(held.job_id, held.token, script, args, commands=held.begun)

    # ------------------------------------------------------------------ running

    async def _perform(self) -> Outcome:
        try:
            params = self._task.decode_params(self.claim.params)
        except InvalidParams as error:
            return invalid(error)
        except Exception as error:  # noqa: BLE001 (a check of the task's own)
            return raised(self._task, self.claim.attempt, error, random.random)
        if self._why is not None:
            return STOPPED
        self._code = start_code(self._task, params, self._link, self._shop.settings.result_bytes)
        if self._code.in_process:
            self._held.alive = True
            self._shop.leases.guard(self._held)
        self._code.done.add_done_callback(self._ended)
        self._arm()
        try:
            return await self._outcome
        finally:
            # Tasks that the code left behind can do nothing more in its name.
            self._link.stopping = True
            self._disarm()
            if self._second_look is not None:
                self._second_look.cancel()

    def _ended(self, done: asyncio.Future[Outcome]) -> None:
        self._held.alive = False
        if not self._outcome.done():
            # What is stopped has not finished, whatever it still came up with.
            over = self._why is not None or done.cancelled()
            self._outcome.set_result(STOPPED if over else done.result())

    def _hear(self, word: Word) -> None:
        match word:
            case "cancelling":
                self.stop(Why.CANCEL)
            case "lost":
                self.stop(Why.LOST)
            case "fence":
                self.stop(Why.FENCE)
            case "answered":
                self._link.answered.set()

    # ------------------------------------------------------------------ stopping

    def stop(self, why: Why, grace: float | None = None) -> None:
        """Has the code and all that it started end within `grace` seconds, unless it has ended by
        itself. Told again with a shorter grace, it has that."""
        if self._over:
            return
        if why is Why.LOST:
            self._why = why
            self._reporter_is_over()
        elif self._why is None and not self._settling:
            self._why = why
        elif grace is None:
            return
        if grace is None:
            grace = self._shop.stop_grace
        if why is Why.LOST:
            grace = 0.0
        rest = self._held.valid_until - boottime() - _FENCE_REST
        self._tell(max(0.0, min(grace, rest)))

    def _tell(self, grace: float) -> None:
        self._link.stopping = True
        if self._code is not None and not self._code.done.done():
            self._code.stop(grace)
            if self._second_look is not None:
                self._second_look.cancel()
            self._look_again(grace + _AGAIN, self._stop_again)
        if self._held.begun:
            # Owned by this execution: `_settle` waits for all of them.
            ending = asyncio.ensure_future(self._end_children(grace))
            self._endings.add(ending)

    def _look_again(self, pause: float, look: Callable[[], None]) -> None:
        self._second_look = asyncio.get_running_loop().call_later(pause, look)

    def _stop_again(self) -> None:
        if self._code is not None and not self._code.done.done():
            self._code.stop(0)
            self._look_again(_AGAIN, self._give_up)

    def _give_up(self) -> None:
        if self._code is not None and not self._code.done.done():
            self._shop.give_up(self)

    async def _end_children(self, grace: float) -> None:
        await self._shop.processes.end(self._held.key, grace)

    def _reporter_is_over(self) -> None:
        ending = asyncio.ensure_future(self._reporter.abandon())
        self._endings.add(ending)

    # ------------------------------------------------------------------ time

    def _arm(self) -> None:
        if self._left is None or self._why is not None:
            return
        loop = asyncio.get_running_loop()
        self._due = loop.time() + self._left
        self._timer = loop.call_at(self._due, self.stop, Why.TIMEOUT)
        self._held.overdue = boottime() + self._left + self._shop.stop_grace

    def _disarm(self) -> None:
        self._held.overdue = float("inf")
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._left = max(0.0, self._due - asyncio.get_running_loop().time())

    def _pause(self) -> None:
        self._disarm()
        self._paused = True
        if self._shop.slots.lend():
            self._has_slot, self._lent = False, True
        if self._shop.draining:
            asyncio.get_running_loop().call_soon(self.stop, Why.RELEASE)

    async def _resume(self) -> None:
        self._paused = False
        if self._lent and not self._link.stopping:
            await self._shop.slots.take_back()
            self._has_slot, self._lent = True, False
        self._arm()

    # ------------------------------------------------------------------ the end

    async def _settle(self, outcome: Outcome) -> None:
        if self._held.begun:
            await self._end_children(self._shop.stop_grace)
        if self._endings:
            await asyncio.gather(*self._endings)
        if self._why is Why.LOST:
            raise StaleToken(self.claim.job_id)
        await self._reporter.close()
        if self._has_slot and self._shop.slots.give_ahead():
            self._has_slot, self._ahead = False, True
        try:
            status = await persist(lambda: self._write(outcome))
        except Conflict as error:
            # Told to cancel what nobody cancels any more: let it be run again.
            log.warning("job %s: %s", self.claim.job_id, error)
            status = await persist(self._release)
        except RedisError:
            log.exception("job %s is left to the next worker", self.claim.job_id)
            return
        self.status = status
        log.debug("job %s (%s) is %s", self.claim.job_id, self.claim.task, status)

    async def _write(self, outcome: Outcome) -> str:
        do, job_id, token = self._shop.transitions, self.claim.job_id, self.claim.token
        if outcome.kind == "stopped":
            match self._why:
                case Why.CANCEL:
                    return await do.finish(job_id, token, "cancelled")
                case Why.TIMEOUT:
                    outcome = self._timed_out()
                case _:
                    return await self._release()
        match outcome.kind:
            case "completed":
                return await do.finish(job_id, token, "completed", bytes(outcome.result))
            case "failed":
                return await do.finish(job_id, token, "failed", outcome.error(), outcome.trace())
            case _:
                return await do.retry(
                    job_id, token, outcome.delay, outcome.error(), outcome.trace()
                )

    def _timed_out(self) -> Outcome:
        return timed_out(self._task, self.claim.attempt, self._limit or 0.0, random.random)

    async def _release(self) -> str:
        return await self._shop.transitions.release(self.claim.job_id, self.claim.token)
