"""arq with Jobcast beside it.

    from worker.integrations.arq import install

    class WorkerSettings:
        functions = [send]

    install(WorkerSettings)                          # in the worker, right after the class

    pool = install(await create_pool(settings))      # where jobs are queued
    await pool.enqueue_job("send", 3, jobcast_session="s1")

Jobs that are queued with `jobcast_session` become Jobcast jobs of that session; the function does
not get it. arq tells its hooks neither what a job is nor what came of it, so functions are wrapped,
and what a CancelledError meant is read from arq's Redis after the job. A pool that was not
installed queues jobs as well; Jobcast then hears of them when they start.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from arq.connections import ArqRedis
from arq.jobs import Job
from arq.worker import Function, JobExecutionFailed, Retry, RetryJob, func

from hub.settings import Settings
from worker.integrations.reporter import LEASE, SESSION_HEADER, Reporter
from worker.integrations.run import Run
from worker.integrations.sessions import asked
from worker.integrations.stopping import CancelledInJobcast, Stoppable

#: A session for a job, from its function's name, args and kwargs; None: it is none of Jobcast's.
SessionOf = Callable[[str, Sequence[Any], Mapping[str, Any]], str | None]
Target = TypeVar("Target")

#: arq's own defaults (seconds, tries), and for how long past a job's time it holds a job that was
#: lost; then some, for a worker to have room.
JOB_TIMEOUT: Final = 300.0
MAX_TRIES: Final = 5
HELD_PAST_TIMEOUT: Final = 10.0
ROOM: Final = 60.0
#: What a wrapped function leaves in its `ctx`, for the hook after it.
_OUTCOME: Final = "jobcast_outcome"


def install(
    target: Target,
    settings: Settings | None = None,
    *,
    session_of: SessionOf | None = None,
    lease: float = LEASE,
    show_params: bool = True,
    show_result: bool = True,
) -> Target:
    """Tells Jobcast of the jobs of a worker's settings (a class or a dict, with its functions and
    cron jobs), or of those that an ArqRedis queues; returns what it was given, changed.

    `settings` are those of the hub (`JOBCAST_*` unless given); `session_of` names the session of
    jobs that were queued without one. A cancel in Jobcast of a job that runs cancels its coroutine.
    Raises SettingsError for a bad variable."""
    stoppable = Stoppable()
    reporter = Reporter(
        "arq",
        settings,
        lease=lease,
        on_cancel=stoppable.stop,
        show_params=show_params,
        show_result=show_result,
    )
    if isinstance(target, ArqRedis):
        _Queueing(reporter, session_of).of(target)
    else:
        _Worker(target, reporter, stoppable, session_of)
    return target


class _Queueing:
    """What is told where jobs are queued."""

    def __init__(self, reporter: Reporter, session_of: SessionOf | None) -> None:
        self._reporter = reporter
        self.session = asked(session_of)

    def of(self, pool: Any) -> None:
        """Wraps a pool's `enqueue_job`."""
        enqueue = pool.enqueue_job
        reporter = self._reporter

        @functools.wraps(enqueue)
        async def enqueue_job(function: str, *args: Any, **kwargs: Any) -> Any:
            own = {name: value for name, value in kwargs.items() if name not in _OPTIONS}
            session = own.pop(SESSION_HEADER, None)
            if session is None:
                session = self.session(function, args, own)
            if session is not None:
                kwargs[SESSION_HEADER] = session
            job = await enqueue(function, *args, **kwargs)
            if job is None or session is None:
                return job
            told = reporter.describe(job.job_id, function, session, args=args, kwargs=own)
            reporter.queued(job.job_id, told, delay=_delay(kwargs))
            return _ToldJob(reporter, job)

        pool.enqueue_job = enqueue_job


class _ToldJob(Job):
    """A job whose `abort` is told even where it never started: arq's worker has no hook there."""

    __slots__ = ("_reporter",)

    def __init__(self, reporter: Reporter, job: Any) -> None:
        super().__init__(job.job_id, job._redis, job._queue_name, job._deserializer)
        self._reporter = reporter

    async def abort(self, **how: Any) -> bool:
        """As arq's."""
        aborted: bool = await super().abort(**how)
        if aborted:
            self._reporter.ended(self.job_id, "cancelled")
        return aborted


@dataclasses.dataclass
class _Outcome:
    """What a function's wrapper knows of it at its end; `error` is None where it returned."""

    function: Any
    began: float
    run: Run | None = None
    value: Any = None
    error: BaseException | None = None


class _Worker:
    """What is told where jobs run."""

    def __init__(
        self,
        target: Any,
        reporter: Reporter,
        stoppable: Stoppable,
        session_of: SessionOf | None,
    ) -> None:
        self._reporter = reporter
        self._stoppable = stoppable
        self._queueing = _Queueing(reporter, session_of)
        given: dict[str, Any] = target if isinstance(target, dict) else dict(vars(target))
        self._queue_name: str | None = given.get("queue_name")
        self._timeout = _seconds(given.get("job_timeout", JOB_TIMEOUT)) or 0.0
        self._max_tries: int = given.get("max_tries", MAX_TRIES)
        self._retries: bool = given.get("retry_jobs", True)
        self._deserializer = given.get("job_deserializer")
        functions = [func(each) for each in given.get("functions", ())]
        crons = list(given.get("cron_jobs") or ())
        times = [self._time(each) for each in (*functions, *crons)]
        self._redelivers = max(times, default=0.0) + HELD_PAST_TIMEOUT + ROOM
        hooks = {
            "functions": [self._wrapped(each) for each in functions],
            "on_startup": _after(given.get("on_startup"), self._startup),
            "after_job_end": _after(self._ended, given.get("after_job_end")),
            "on_shutdown": _after(given.get("on_shutdown"), self._shutdown),
        }
        if crons:
            hooks["cron_jobs"] = [self._wrapped(each) for each in crons]
        for name, value in hooks.items():
            if isinstance(target, dict):
                target[name] = value
            else:
                setattr(target, name, value)

    def _time(self, function: Any) -> float:
        return self._timeout if function.timeout_s is None else float(function.timeout_s)

    def _tries(self, function: Any) -> int:
        return self._max_tries if function.max_tries is None else int(function.max_tries)

    def _wrapped(self, function: Function) -> Any:
        coroutine, name, tries = function.coroutine, function.name, self._tries(function)

        @functools.wraps(coroutine)
        async def wrapper(ctx: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
            ctx[_OUTCOME] = outcome = _Outcome(function, time.monotonic())
            session = kwargs.pop(SESSION_HEADER, None) or self._queueing.session(name, args, kwargs)
            told = self._reporter.describe(
                ctx["job_id"],
                name,
                session,
                args=args,
                kwargs=kwargs,
                max_attempts=tries,
                redelivers=self._redelivers,
            )
            try:
                run = await self._reporter.start_async(ctx["job_id"], told, attempt=ctx["job_try"])
                outcome.run = run
                if run is None:
                    return await coroutine(ctx, *args, **kwargs)
                with run.as_current(), self._stoppable.running(run):
                    outcome.value = await coroutine(ctx, *args, **kwargs)
                return outcome.value
            except CancelledInJobcast as error:
                outcome.error = error
                # What arq keeps as the result is to be read by processes without Jobcast too.
                raise JobExecutionFailed(str(error)) from None
            except BaseException as error:
                outcome.error = error
                raise

        return dataclasses.replace(function, coroutine=wrapper)

    async def _ended(self, ctx: dict[str, Any]) -> None:
        """After arq has recorded what came of the job."""
        outcome = ctx.get(_OUTCOME)
        if outcome is None:
            return
        # It may have been stopped while it waited for the answer to its start.
        run = outcome.run or self._reporter.run_of(ctx["job_id"])
        if run is None:
            return
        function, error = outcome.function, outcome.error
        again = ctx["job_try"] < self._tries(function)
        if error is None:
            self._reporter.completed(run, outcome.value)
        elif isinstance(error, CancelledInJobcast):
            self._reporter.cancelled(run)
        elif self._retries and isinstance(error, Retry | RetryJob) and again:
            delay = (getattr(error, "defer_score", None) or 0) / 1000
            why = error.__cause__ or error.__context__ or "It asked to be run again."
            self._reporter.retrying(run, why, delay=delay)
        elif self._retries and isinstance(error, Retry | RetryJob):
            self._too_often(run, function)
        elif isinstance(error, asyncio.CancelledError):
            await self._stopped(ctx, run, function, time.monotonic() - outcome.began)
        else:
            self._reporter.failed(run, error)

    async def _stopped(self, ctx: dict[str, Any], run: Run, function: Any, seconds: float) -> None:
        """arq has cancelled the coroutine: its time was over, it was aborted, its worker ends."""
        pool, job_id = ctx["redis"], ctx["job_id"]
        queue = self._queue_name or pool.default_queue_name
        if await pool.zscore(queue, job_id) is not None:
            if ctx["job_try"] < self._tries(function):
                self._reporter.released(run)
            else:
                self._too_often(run, function)
            return
        info = await Job(job_id, pool, queue, self._deserializer).result_info()
        late = seconds >= self._time(function) if info is None else info.result
        if late is True or isinstance(late, TimeoutError):
            words = f"It took longer than {self._time(function):g} s."
            self._reporter.failed(run, words, code="timeout", kind="TimeoutError")
        else:
            self._reporter.cancelled(run)

    def _too_often(self, run: Run, function: Any) -> None:
        """arq queues it again only to find that it may not run it any more, and tells no hook."""
        words = f"It was tried {self._tries(function)} times."
        self._reporter.failed(run, words, kind="JobExecutionFailed")

    async def _startup(self, ctx: dict[str, Any]) -> None:
        self._queueing.of(ctx["redis"])

    async def _shutdown(self, _: dict[str, Any]) -> None:
        await self._reporter.flush_async()


#: What `enqueue_job` takes for itself.
_OPTIONS: Final = frozenset(
    {"_job_id", "_queue_name", "_defer_until", "_defer_by", "_expires", "_job_try"}
)

_Hook = Callable[[dict[str, Any]], Any]


def _after(first: _Hook | None, then: _Hook | None) -> _Hook:
    async def both(ctx: dict[str, Any]) -> None:
        for hook in (first, then):
            if hook is not None:
                await hook(ctx)

    return both


def _seconds(value: float | timedelta | None) -> float | None:
    return value.total_seconds() if isinstance(value, timedelta) else value


def _delay(options: Mapping[str, Any]) -> float | None:
    """Seconds until a job may start, by the options that it was queued with."""
    until: datetime | None = options.get("_defer_until")
    if until is None:
        return _seconds(options.get("_defer_by"))
    return max(0.0, until.timestamp() - time.time())
