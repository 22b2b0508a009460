"""The jobs that a worker runs now: their beginning, and their end when the worker goes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import Final

from hub.claims import Claim
from hub.metrics.timings import Timings
from worker.epilogue import LastWord
from worker.execution import Execution, Why, Workshop
from worker.tasks import Registry

log = logging.getLogger("jobcast.worker")

#: Seconds that giving jobs back may take beyond their stopping; Redis may be away.
RELEASE_SECONDS: Final = 5.0


class Crew:
    """All executions of a worker, which are counted in `timings`. `on_hopeless` is called when
    code does not stop."""

    def __init__(self, on_hopeless: Callable[[], None], timings: Timings) -> None:
        self._timings = timings
        self._on_hopeless = on_hopeless
        self._executions: set[Execution] = set()
        self._hopeless: set[Execution] = set()
        self._changed = asyncio.Event()
        self._hurry = asyncio.Event()

    def hurry(self) -> None:
        """Has `finish` wait no longer."""
        self._hurry.set()
        self._changed.set()

    def beginner(
        self, group: asyncio.TaskGroup, registry: Registry, shop: Workshop
    ) -> Callable[[Claim, float], None]:
        """What takes over claims of `registry`'s tasks; their tasks are `group`'s."""

        def begin(claim: Claim, valid_until: float) -> None:
            execution = Execution(shop, claim, registry[claim.task], valid_until)
            self._executions.add(execution)
            self._timings.claimed(claim.task, claim.waited)
            group.create_task(self._execute(execution))

        return begin

    async def _execute(self, execution: Execution) -> None:
        began = time.monotonic()
        try:
            await execution.run()
        except Exception:
            # Nothing is renewed any more, so the job comes to another worker.
            log.exception("job %s: the worker itself failed", execution.claim.job_id)
        finally:
            took = time.monotonic() - began
            self._timings.ended(execution.claim.task, execution.status, took)
            self._executions.discard(execution)
            self._hopeless.discard(execution)
            self._changed.set()

    def give_up(self, execution: Execution) -> None:
        """The code of this one does not stop: only the end of the process ends it."""
        self._hopeless.add(execution)
        self._changed.set()
        log.error(
            "job %s: the code of %s does not stop, so this worker ends: a coroutine must let "
            "CancelledError through, and a function that waits for long should have "
            'isolate="process"',
            execution.claim.job_id,
            execution.claim.task,
        )
        self._on_hopeless()

    async def finish(self, grace: float, stop_grace: float) -> list[LastWord]:
        """Waits for jobs to finish within `grace` seconds, and gives back what does not; stopping
        these takes `stop_grace`. Returns what is to be said of those that could not be ended."""
        if self._executions:
            log.info("finishing %d jobs within %g s", len(self._executions), grace)
        for execution in list(self._executions):
            if execution.waiting:
                execution.stop(Why.RELEASE)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await self._until_idle(or_hurried=True)
        while self._left():
            given = 0.0 if self._hurry.is_set() else stop_grace
            for execution in list(self._executions):
                execution.stop(Why.RELEASE, given)
            try:
                async with asyncio.timeout(given + RELEASE_SECONDS):
                    await self._until_idle(or_hurried=given > 0)
            except TimeoutError:
                break
        if self._executions:
            log.warning("%d jobs could not be ended", len(self._executions))
        return [execution.last_word() for execution in self._executions]

    def _left(self) -> bool:
        """Whether there are jobs that may still end."""
        return any(each not in self._hopeless for each in self._executions)

    async def _until_idle(self, *, or_hurried: bool) -> None:
        while self._left() and not (or_hurried and self._hurry.is_set()):
            self._changed.clear()
            await self._changed.wait()
