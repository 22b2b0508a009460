"""How a job of another queue becomes a Jobcast job: the base of every integration.

An integration makes one `Reporter` for its library and calls it from the library's own hooks:

    reporter = Reporter("celery", settings, on_cancel=stop_it)

    # where a job is queued (any process)
    job = reporter.describe(task_id, "proj.add", session_id, args=(2, 3), max_attempts=4)
    reporter.queued(task_id, job, delay=60)             # job.pending

    # in the process that runs it, before its code
    run = reporter.start(task_id, job, attempt=2)       # job.running
    run = await reporter.start_async(...)               # the same in an event loop
    if run.cancelled_before: ...                        # cancelled in Jobcast: do not run it
    with run.as_current(): ...                          # worker.integrations.progress(40) inside
    run.progress(40, message="half"); run.log("text")   # job.progress, job.log

    # after it
    reporter.completed(run, result)                     # job.completed
    reporter.failed(run, error)                         # job.failed: it will not be run again
    reporter.retrying(run, error, delay=10)             # job.retrying: it will, as an attempt more
    reporter.released(run)                              # job.pending: given back, at no cost
    reporter.cancelled(run)                             # job.cancelled
    # where another process, or nobody, runs it (revoked while it waited; its process found dead)
    reporter.ended(task_id, "cancelled")  ·  reporter.ended(task_id, "failed", error)

What an integration may count on:

- **Nothing here raises or blocks.** All goes to one thread (`worker.integrations.teller`), which
  tells it in order and repeats it while Jobcast is away, within bounds
  (`worker.integrations.backlog`). Only `start` and `start_async` wait for an answer, for at most
  `wait` seconds and not at all while Jobcast is known to be away; a `start` in an event loop blocks
  it, so use `start_async` there. `flush` (in an event loop: `flush_async`) waits until all was
  told: call it before a process ends that does not run `atexit` functions (a forked child that
  leaves by `os._exit`).
- **Jobs without a session are none of Jobcast's.** `describe` returns None for what is no session;
  every method takes `job=None` and `run=None` and does nothing then. `start` returns None for None.
- **The library's own id of a job names it** (`ref`), in every process, so that no token or id has
  to travel with the job. Whoever speaks first of an id makes the Jobcast job; a `queued` that
  arrives after the `start` changes nothing. `start` for an id whose job has ended makes a new job
  with `retry_of`: the library ran it once more.
- **A process that is killed** stops renewing its lease (`lease` seconds, 30 unless said). Then a
  job whose `describe` had `redelivers=S` is pending again, with `lost` raised, and failed (lost)
  only when its library does not hand it out within S seconds; without `redelivers` it is failed
  (lost) at once. A `start` for a job that another process seems to run takes it over, as redelivery
  means that the other was lost. A run that was only held up goes on under its old job as soon as it
  can.
- **A cancel in Jobcast** of a job that waits is told by `run.cancelled_before`, once; of one that
  runs by `on_cancel(run)`, called from the teller's thread within about 2 s (and
  `run.cancel_requested`). `on_cancel` must return soon. Tell `cancelled` once the code has stopped.
- **Forks.** A Reporter made before a fork works in the child, with a thread and connection of its
  own. The child may say things of runs that its parent holds; the parent renews their leases.

Sessions: set-up takes `session_of`, a function of what the library knows of a job, and the
library's own header or option `jobcast_session` (`SESSION_HEADER`) wins where there is one.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, Literal

from hub.connection import connect_sync
from hub.foreign import PENDING_PATIENCE, ForeignJob, ForeignJobs
from hub.scripts import Scripts
from hub.settings import Settings
from worker.integrations.backlog import Step
from worker.integrations.facts import as_json, error_json, foreign_job, ref_of, worker_name
from worker.integrations.run import Run
from worker.integrations.teller import Teller

#: The header, option, label or meta entry that names a job's session, in every library.
SESSION_HEADER: Final = "jobcast_session"
#: Seconds for a lease, for the answer to a start, and for the last words of a process.
LEASE: Final = 30.0
START_WAIT: Final = 1.0
LAST_WORDS: Final = 5.0

ErrorCode = Literal["error", "permanent", "timeout", "lost", "expired"]


class Reporter:
    """Tells of the jobs of one library; `source` is its name, such as `celery`.

    `settings` are those of the hub (`JOBCAST_*` unless given; `redis_url` and the limits count);
    durations are seconds. With `show_params` or `show_result` False, what jobs get or return is not
    told: whoever may read the session would see it. Raises SettingsError for a bad variable."""

    def __init__(
        self,
        source: str,
        settings: Settings | None = None,
        *,
        lease: float = LEASE,
        on_cancel: Callable[[Run], None] | None = None,
        show_params: bool = True,
        show_result: bool = True,
    ) -> None:
        self.source = source
        self.settings = Settings.from_env() if settings is None else settings
        self._show_params = show_params
        self._show_result = show_result
        self._teller = Teller(self.settings, lease, on_cancel)
        atexit.register(self.close)

    # ------------------------------------------------------------------ before it runs

    def describe(
        self,
        job_id: str,
        task: str,
        session_id: str | None,
        *,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        title: str | None = None,
        max_attempts: int | None = None,
        redelivers: float | None = None,
    ) -> ForeignJob | None:
        """What Jobcast is to know of a job that the library calls `job_id`. None where
        `session_id` is None, or (with a warning) no session."""
        if session_id is None:
            return None
        with self._teller.quietly("a job"):
            return foreign_job(
                self.source,
                job_id,
                task,
                session_id,
                args=args,
                kwargs=kwargs,
                title=title,
                max_attempts=max_attempts,
                redelivers=redelivers,
                params_bytes=self.settings.params_bytes,
                show_params=self._show_params,
            )
        return None

    def queued(
        self,
        job_id: str,
        job: ForeignJob | None,
        *,
        delay: float | None = None,
        patience: float = PENDING_PATIENCE,
    ) -> None:
        """The job waits in its queue, for `delay` seconds at least. It is failed (lost) when it has
        not started `patience` seconds after that."""
        if job is None:
            return
        told_at, ref = time.monotonic(), ref_of(self.source, job_id)

        def tell() -> None:
            left = None if delay is None else max(0.0, delay - (time.monotonic() - told_at))
            self._teller.jobs.queue(ref, job, delay=left, patience=patience)

        self._put(tell, "a queued job", len(job.params), beginning=True)

    def start(
        self,
        job_id: str,
        job: ForeignJob | None,
        *,
        attempt: int | None = None,
        worker: str | None = None,
        wait: float = START_WAIT,
    ) -> Run | None:
        """This process runs the job from now on; its lease is renewed until the run is told to be
        over. `attempt` counts from 1 (one more than before unless said, where it was retried)."""
        run = self._start(job_id, job, attempt, worker)
        if run is not None and wait > 0 and not self._teller.away:
            run.answered.wait(wait)
        return run

    async def start_async(
        self,
        job_id: str,
        job: ForeignJob | None,
        *,
        attempt: int | None = None,
        worker: str | None = None,
        wait: float = START_WAIT,
    ) -> Run | None:
        """The same without blocking the event loop."""
        run = self._start(job_id, job, attempt, worker)
        if run is not None and wait > 0 and not self._teller.away:
            loop, answered = asyncio.get_running_loop(), asyncio.Event()
            run.when_answered(partial(loop.call_soon_threadsafe, answered.set))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(answered.wait(), wait)
        return run

    def _start(
        self, job_id: str, job: ForeignJob | None, attempt: int | None, worker: str | None
    ) -> Run | None:
        if job is None:
            return None
        with self._teller.quietly("a start"):
            run = Run(
                self._teller,
                ref_of(self.source, job_id),
                job,
                attempt=attempt,
                worker=worker_name(worker or default_worker()),
                line_bytes=self.settings.log_line_bytes,
            )
            self._teller.hold(run)
            self._put(
                partial(self._teller.ensure, run),
                "a start",
                len(job.params),
                beginning=True,
                dropped=run.answer,
            )
            return run
        return None

    def run_of(self, job_id: str) -> Run | None:
        """The run of a job that this process, or the one that it was forked from, has started and
        not ended."""
        return self._teller.run_of(ref_of(self.source, job_id))

    # ------------------------------------------------------------------ after it

    def completed(self, run: Run | None, result: Any = None) -> None:
        """The job has returned `result` (told as JSON; as null where it is too large)."""
        value = as_json(result, self.settings.result_bytes) if self._show_result else None
        self._end(run, "completed", value or b"null")

    def failed(
        self,
        run: Run | None,
        error: BaseException | str,
        *,
        code: ErrorCode = "error",
        kind: str | None = None,
        traceback: str | None = None,
    ) -> None:
        """The job has failed, and the library will not run it again by itself. `kind` is the
        error's type where `error` is only text; `traceback` is shown to operators only."""
        value, trace = error_json(error, code=code, kind=kind, traceback=traceback)
        self._end(run, "failed", value, trace)

    def cancelled(self, run: Run | None) -> None:
        """The job's code was stopped because somebody wanted that."""
        self._end(run, "cancelled")

    def retrying(
        self,
        run: Run | None,
        error: BaseException | str,
        *,
        delay: float = 0.0,
        code: ErrorCode = "error",
        kind: str | None = None,
        traceback: str | None = None,
        patience: float = PENDING_PATIENCE,
    ) -> None:
        """The job has failed, and the library runs it again in `delay` seconds or later. It is
        failed (lost) when that has not begun `patience` seconds after."""
        if run is not None:
            value, trace = error_json(error, code=code, kind=kind, traceback=traceback)
            jobs = self._teller

            def tell() -> str | None:
                return jobs.jobs.retry(
                    run.ref, run.token, value, trace, delay=delay, patience=patience
                )

            self._last(run, tell, "a retry", len(value) + len(trace))

    def released(self, run: Run | None, *, patience: float = PENDING_PATIENCE) -> None:
        """The job was given back to its queue unfinished, at no cost."""
        if run is not None:

            def tell() -> str | None:
                return self._teller.jobs.release(run.ref, run.token, patience=patience)

            self._last(run, tell, "a release", 0)

    def ended(
        self,
        job_id: str,
        fate: Literal["failed", "cancelled"],
        error: BaseException | str = "",
        *,
        code: ErrorCode = "error",
        kind: str | None = None,
    ) -> None:
        """The library has ended a job that this process does not run, and will not run it again by
        itself. A job of which Jobcast has not heard yet (its worker may be faster than the word of
        who queued it) ends as soon as it does; nothing is done for one that has ended."""
        value, trace = error_json(error, code=code, kind=kind) if fate == "failed" else (b"", b"")
        ref = ref_of(self.source, job_id)

        def tell() -> None:
            self._teller.jobs.end(ref, "", fate, value, trace)

        self._put(tell, "an end", len(value) + len(trace))

    def _end(
        self,
        run: Run | None,
        fate: Literal["completed", "failed", "cancelled"],
        value: bytes = b"",
        trace: bytes = b"",
    ) -> None:
        if run is not None:

            def tell() -> str | None:
                return self._teller.jobs.end(run.ref, run.token, fate, value, trace)

            self._last(run, tell, "an end", len(value) + len(trace))

    def _last(self, run: Run, tell: Callable[[], str | None], what: str, size: int) -> None:
        run.ended = True
        self._put(partial(self._teller.last_words, run, tell), what, size)

    def _put(
        self,
        tell: Callable[[], object],
        what: str,
        size: int,
        *,
        beginning: bool = False,
        dropped: Callable[[], None] | None = None,
    ) -> None:
        with self._teller.quietly(what):
            self._teller.put(Step(tell, size, beginning=beginning, dropped=dropped))

    # ------------------------------------------------------------------ for whoever sets it up

    def jobcast_id(self, job_id: str) -> str | None:
        """The id of the Jobcast job that the library calls `job_id`; None when Jobcast has not
        heard of it yet. Blocks. Raises what the Redis client raises."""
        self.flush()
        with connect_sync(self.settings.redis_url) as redis:
            return ForeignJobs(redis, Scripts(self.settings)).find(ref_of(self.source, job_id))

    def flush(self, timeout: float = LAST_WORDS) -> bool:
        """Waits until all that was said has been told; False when that takes more than `timeout`
        seconds, or Jobcast is away."""
        return self._teller.flush(min(timeout, 0.2) if self._teller.away else timeout)

    async def flush_async(self, timeout: float = LAST_WORDS) -> bool:
        """The same without blocking the event loop."""
        return await asyncio.to_thread(self.flush, timeout)

    def close(self) -> None:
        """Tells what is left, for a few seconds at most, and then nothing more. Called at the end
        of the process."""
        self.flush()
        self._teller.stop()
        atexit.unregister(self.close)


def default_worker() -> str:
    """This process and thread, for people who look for it."""
    thread = threading.current_thread()
    name = "" if thread is threading.main_thread() else f":{thread.name}"
    return f"{socket.gethostname()}:{os.getpid()}{name}"
