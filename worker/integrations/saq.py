"""SAQ with Jobcast beside it.

    from saq import Queue
    from worker.integrations.saq import install

    queue = install(Queue.from_url("redis://127.0.0.1:6379/1"))     # in every process

    await queue.enqueue("send", n=3, meta={"jobcast_session": "s1"})

Jobs with `jobcast_session` in their `meta` become Jobcast jobs of that session. SAQ's hooks hear
neither of aborts, nor of what is swept, nor of progress; but all of it goes through the queue, so
that is where it is heard. `await job.update(progress=0.4)` is progress, in and out of the worker.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final, TypeVar

from saq.job import Job, Status
from saq.queue import Queue

from hub.foreign import ForeignJob
from hub.settings import Settings
from worker.integrations.reporter import LEASE, SESSION_HEADER, Reporter
from worker.integrations.run import Run, current_run
from worker.integrations.sessions import asked
from worker.integrations.stopping import CancelledInJobcast

log = logging.getLogger("jobcast.integrations")

#: A session for a job; None: it is none of Jobcast's.
SessionOf = Callable[[Job], str | None]
AnyQueue = TypeVar("AnyQueue", bound=Queue)

#: Seconds between SAQ's sweeps, by which it finds jobs of workers that are gone; then some.
SWEEP: Final = 60.0
ROOM: Final = 60.0
_WORDS: Final = str(CancelledInJobcast())


def install(
    queue: AnyQueue,
    settings: Settings | None = None,
    *,
    session_of: SessionOf | None = None,
    lease: float = LEASE,
    show_params: bool = True,
    show_result: bool = True,
) -> AnyQueue:
    """Tells Jobcast of a queue's jobs, wherever this queue object is used: to enqueue, to abort, to
    work. Returns the queue.

    `settings` are those of the hub (`JOBCAST_*` unless given); `session_of` names the session of
    jobs without one in their `meta`. A cancel in Jobcast of a job that runs aborts it. Raises
    SettingsError for a bad variable."""
    _SaqJobcast(queue, settings, session_of, lease, show_params, show_result)
    return queue


class _SaqJobcast:
    def __init__(
        self,
        queue: Queue,
        settings: Settings | None,
        session_of: SessionOf | None,
        lease: float,
        show_params: bool,
        show_result: bool,
    ) -> None:
        self._queue = queue
        self._session_of = asked(session_of)
        self._running: dict[str, tuple[asyncio.AbstractEventLoop, Job]] = {}
        self._reporter = Reporter(
            "saq",
            settings,
            lease=lease,
            on_cancel=self._cancel,
            show_params=show_params,
            show_result=show_result,
        )
        queue.register_before_enqueue(self._before_enqueue)
        for wrapper in (
            self._enqueue(queue.enqueue),
            self._update(queue.update),
            self._retry(queue.retry),
            self._finish(queue.finish),
            self._abort(queue.abort),
            self._disconnect(queue.disconnect),
        ):
            setattr(queue, wrapper.__name__, wrapper)

    # ------------------------------------------------------------------ where it is queued

    async def _before_enqueue(self, job: Job) -> None:
        """What `session_of` says here travels along: the worker may not have it."""
        if SESSION_HEADER not in job.meta:
            session = self._session_of(job)
            if session is not None:
                job.meta[SESSION_HEADER] = session

    def _enqueue(self, original: Any) -> Any:
        @functools.wraps(original)
        async def enqueue(job_or_func: str | Job, **kwargs: Any) -> Job | None:
            job: Job | None = await original(job_or_func, **kwargs)
            if job is not None:
                delay = max(0.0, job.scheduled - time.time()) if job.scheduled else None
                self._reporter.queued(_id(job), self._describe(job), delay=delay)
            return job

        return enqueue

    def _describe(self, job: Job) -> ForeignJob | None:
        return self._reporter.describe(
            _id(job),
            job.function,
            job.meta.get(SESSION_HEADER),
            kwargs=job.kwargs,
            max_attempts=job.retries,
            redelivers=_redelivers(job),
        )

    # ------------------------------------------------------------------ where it runs

    def _update(self, original: Any) -> Any:
        @functools.wraps(original)
        async def update(job: Job, **kwargs: Any) -> None:
            await original(job, **kwargs)
            if kwargs.get("status") == Status.ACTIVE:
                await self._start(job)
            elif (run := self._run(job)) is not None:
                done = kwargs.get("progress")
                if isinstance(done, int | float):
                    run.progress(100.0 * done)

        return update

    async def _start(self, job: Job) -> None:
        """In SAQ's task for the job, before its code, which inherits the context."""
        # Older releases do not note their worker's name.
        worker: str | None = getattr(job, "worker_id", None)
        run = await self._reporter.start_async(
            _id(job), self._describe(job), attempt=job.attempts, worker=worker
        )
        current_run.set(run)
        if run is None:
            return
        if run.cancelled_before:
            raise CancelledInJobcast
        self._running[run.ref] = asyncio.get_running_loop(), job
        if run.cancel_requested:
            self._cancel(run)

    def _cancel(self, run: Run) -> None:
        """Aborts as SAQ does: its worker looks for that once a second."""
        loop, job = self._running.get(run.ref, (None, None))
        if loop is not None and job is not None:
            abort = self._queue.abort(self._queue.copy(job), _WORDS)
            asyncio.run_coroutine_threadsafe(abort, loop).add_done_callback(_noted)

    def _retry(self, original: Any) -> Any:
        @functools.wraps(original)
        async def retry(job: Job, error: str | None) -> None:
            why = sys.exception()
            if isinstance(why, CancelledInJobcast):
                await self._queue.finish(job, Status.ABORTED, error=_WORDS)
                return
            run = self._over(job)
            await self._or_released(run, original(job, error))
            if isinstance(why, asyncio.CancelledError):
                self._reporter.released(run)
                return
            delay = 0.0 if job.retry_backoff else job.retry_delay
            self._reporter.retrying(
                run, why or _last_line(error), delay=delay, code=_code(why), traceback=error
            )

        return retry

    def _finish(self, original: Any) -> Any:
        @functools.wraps(original)
        async def finish(
            job: Job, status: Status, *, result: Any = None, error: str | None = None, **kw: Any
        ) -> None:
            why = sys.exception()
            if isinstance(why, CancelledInJobcast):
                status, error = Status.ABORTED, _WORDS
            run = self._over(job)
            await self._or_released(run, original(job, status, result=result, error=error, **kw))
            if status == Status.COMPLETE:
                self._reporter.completed(run, result)
            elif status == Status.FAILED:
                self._reporter.failed(
                    run, why or _last_line(error), code=_code(why), traceback=error
                )
            elif status == Status.ABORTED and error == self._queue.swept_error_message:
                words = "SAQ found it past its time, without a worker that knew of it."
                self._reporter.ended(_id(job), "failed", words, code="lost")
            elif run is not None:
                self._reporter.cancelled(run)
            else:
                self._reporter.ended(_id(job), "cancelled")

        return finish

    def _run(self, job: Job) -> Run | None:
        return self._reporter.run_of(_id(job))

    def _over(self, job: Job) -> Run | None:
        """Its run; no more to be cancelled."""
        run = self._run(job)
        if run is not None:
            self._running.pop(run.ref, None)
        return run

    async def _or_released(self, run: Run | None, done: Any) -> None:
        """SAQ could not note what came of the job: it will be swept, and run again."""
        try:
            await done
        except BaseException:
            self._reporter.released(run)
            raise

    # ------------------------------------------------------------------ beside it

    def _abort(self, original: Any) -> Any:
        @functools.wraps(original)
        async def abort(job: Job, error: str, ttl: float = 5) -> None:
            waits = job.scheduled > time.time() and job.status == Status.QUEUED
            await original(job, error, ttl=ttl)
            if waits:
                # SAQ takes such a job out without finishing it.
                self._reporter.ended(_id(job), "cancelled")

        return abort

    def _disconnect(self, original: Any) -> Any:
        @functools.wraps(original)
        async def disconnect() -> None:
            await original()
            await self._reporter.flush_async()

        return disconnect


def _id(job: Job) -> str:
    """Keys are unique in their queue only. Each firing of a cron job has the same one."""
    name = "" if job.queue is None else job.queue.name
    when = f"@{job.scheduled}" if job.key.startswith("cron:") else ""
    return f"{name}:{job.key}{when}"


def _redelivers(job: Job) -> float | None:
    """For how long SAQ may take to run a job again whose worker is gone; None where it will not."""
    limits = [each for each in (job.timeout, job.heartbeat) if each]
    if not limits or job.retries <= job.attempts:
        return None
    return min(limits) + SWEEP + job.retry_delay + ROOM


def _code(error: BaseException | None) -> Any:
    return "timeout" if isinstance(error, TimeoutError) else "error"


def _last_line(traceback: str | None) -> str:
    lines = (traceback or "").strip().splitlines()
    return lines[-1] if lines else "It failed."


def _noted(done: Future[None]) -> None:
    if not done.cancelled() and (error := done.exception()) is not None:
        log.warning("SAQ could not be told of a cancel: %r", error)
