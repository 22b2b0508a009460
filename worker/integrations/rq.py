"""RQ with Jobcast beside it.

    rq worker --worker-class worker.integrations.rq.JobcastWorker       # for `rq worker`

    from worker.integrations.rq import JobcastQueue                     # for `rq.Queue`

    queue = JobcastQueue(connection=redis)
    queue.enqueue(add, 2, 3, meta={"jobcast_session": "s1"})

Jobs whose `meta` has a `jobcast_session` become Jobcast jobs of that session, by RQ's own custom
queue, job and worker classes. `configure` is for what `JOBCAST_*` does not say, and for sessions by
a function; call it where these classes are imported. `worker.integrations.progress` and `log` work
inside of jobs. The worker (not its work horse) renews the lease and has the last word, so that what
becomes of a job is told even when its horse was killed, or Jobcast was away when it ended.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, Final

from rq import Queue, SimpleWorker, Worker
from rq.command import send_stop_job_command
from rq.exceptions import InvalidJobOperation, NoSuchJobError
from rq.executions import Execution
from rq.job import Job, JobStatus, Retry
from rq.results import Result
from rq.worker import BaseWorker

from hub.foreign import ForeignJob
from hub.settings import Settings
from worker.integrations.reporter import LEASE, SESSION_HEADER, ErrorCode, Reporter
from worker.integrations.run import Run
from worker.integrations.sessions import asked

#: A session for a job; None: it is none of Jobcast's.
SessionOf = Callable[[Job], str | None]

#: Seconds for RQ's housekeeping to find that a worker is gone, and to retry its job.
ABANDONED: Final = 3_600.0
#: Seconds that a work horse waits for its last words to be told before it ends.
HORSE_WORDS: Final = 1.0


class _Setup:
    """What all classes of this module share in a process."""

    def __init__(self) -> None:
        self.session_of: SessionOf = asked(None)
        self.options: dict[str, Any] = {}
        self._reporter: Reporter | None = None
        #: Who runs a job here.
        self.workers: dict[str, BaseWorker] = {}

    @property
    def reporter(self) -> Reporter:
        if self._reporter is None:
            self._reporter = Reporter("rq", on_cancel=self._stop, **self.options)
        return self._reporter

    def change(self, session_of: SessionOf | None, options: dict[str, Any]) -> None:
        if self._reporter is not None:
            self._reporter.close()
            self._reporter = None
        self.session_of, self.options = asked(session_of), options

    def describe(self, job: Job) -> ForeignJob | None:
        """What Jobcast is to know of a job; None when it has no session."""
        session = (job.meta or {}).get(SESSION_HEADER)
        if session is None:
            session = self.session_of(job)
        if session is None:
            return None
        try:
            name, args, kwargs = job.func_name or "", job.args, job.kwargs
        except Exception:  # noqa: BLE001 (what was pickled by others may raise anything)
            name, args, kwargs = str(job.description).partition("(")[0], (), {}
        return self.reporter.describe(
            job.id,
            name,
            session,
            args=args,
            kwargs=kwargs,
            max_attempts=(job.retries_left or 0) + 1,
            redelivers=ABANDONED if job.retries_left else None,
        )

    def queued(self, job: Job, when: datetime | None = None) -> None:
        delay = None if when is None else (when.astimezone(UTC) - datetime.now(UTC)).total_seconds()
        self.reporter.queued(job.id, self.describe(job), delay=delay)

    def _stop(self, run: Run) -> None:
        """Somebody cancelled a job that runs: RQ's own command stops it."""
        job_id = run.ref.removeprefix("rq:")
        worker = self.workers.get(job_id)
        if isinstance(worker, Worker):
            send_stop_job_command(worker.connection, job_id, serializer=worker.serializer)


_setup = _Setup()


def configure(
    settings: Settings | None = None,
    *,
    session_of: SessionOf | None = None,
    lease: float = LEASE,
    show_params: bool = True,
    show_result: bool = True,
) -> None:
    """Settings (`JOBCAST_*` unless given) and a session for jobs whose `meta` has none."""
    options = {
        "settings": settings,
        "lease": lease,
        "show_params": show_params,
        "show_result": show_result,
    }
    _setup.change(session_of, options)


def reporter() -> Reporter:
    """This process's reporter: `reporter().jobcast_id(job.id)` is the Jobcast job of an RQ job."""
    return _setup.reporter


class JobcastJob(Job):
    """A job whose cancelling while it waits is told."""

    def cancel(self, *args: Any, **kwargs: Any) -> Any:
        """As RQ's."""
        done = super().cancel(*args, **kwargs)
        _setup.reporter.ended(self.id, "cancelled")
        return done


class JobcastQueue(Queue):
    """A queue that tells what is put in it. Its jobs are JobcastJobs."""

    job_class = JobcastJob

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """As RQ's. Raises SettingsError for a bad variable."""
        _ = _setup.reporter
        super().__init__(*args, **kwargs)

    def enqueue_job(self, job: Job, *args: Any, **kwargs: Any) -> Job:
        """As RQ's."""
        done = super().enqueue_job(job, *args, **kwargs)
        _setup.queued(done)
        return done

    def schedule_job(self, job: Job, datetime: datetime, *args: Any, **kwargs: Any) -> Job:
        """As RQ's."""
        done = super().schedule_job(job, datetime, *args, **kwargs)
        _setup.queued(done, datetime)
        return done

    def enqueue_many(self, job_datas: Iterable[Any], *args: Any, **kwargs: Any) -> list[Job]:
        """As RQ's."""
        done = super().enqueue_many(job_datas, *args, **kwargs)
        for job in done:
            _setup.queued(job)
        return done


class _Told(BaseWorker):
    """A worker, and its work horse, that tell of their jobs."""

    _error: BaseException | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """As RQ's. Raises SettingsError for a bad variable."""
        _ = _setup.reporter
        super().__init__(*args, **kwargs)

    def execute_job(self, job: Job, queue: Queue) -> None:
        """In the worker: before the job is run, and after."""
        run = _setup.reporter.start(job.id, _setup.describe(job), worker=self.name)
        if run is not None and run.cancelled_before:
            _withdraw(job, queue)
            return
        _setup.workers[job.id] = self
        began = datetime.now(UTC)
        try:
            super().execute_job(job, queue)
        finally:
            _setup.workers.pop(job.id, None)
            if run is not None and not run.over:
                _settle(job, run, began)

    def perform_job(self, job: Job, queue: Queue, execution: Execution) -> bool:
        """In the horse (or in the worker, where there is none): around the job's code."""
        run = _setup.reporter.run_of(job.id)
        if run is None:
            return super().perform_job(job, queue, execution)
        with run.as_current():
            done = super().perform_job(job, queue, execution)
        if self.is_horse:
            _setup.reporter.flush(HORSE_WORDS)
        return done

    def handle_job_success(self, job: Job, *args: Any, **kwargs: Any) -> None:
        """Once RQ has noted it."""
        super().handle_job_success(job, *args, **kwargs)
        run = _setup.reporter.run_of(job.id)
        if run is not None:
            _setup.reporter.completed(run, job.return_value())

    def handle_exception(self, job: Job, *exc_info: Any) -> None:
        """As RQ's; the exception itself says more than the text that comes later."""
        self._error = exc_info[1]
        super().handle_exception(job, *exc_info)

    def handle_job_failure(
        self,
        job: Job,
        queue: Queue,
        started_job_registry: Any = None,
        exc_string: str = "",
        execution: Execution | None = None,
    ) -> None:
        """In the horse; or in the worker, when the horse was killed or the job stopped."""
        run, error = _setup.reporter.run_of(job.id), self._error
        self._error = None
        stopped = self._stopped_job_id == job.id
        retries = bool(job.should_retry) and not stopped
        if run is not None and retries:
            # Before RQ hands it out again, perhaps to another worker.
            _retrying(run, error or exc_string, float(job.get_retry_interval()))
        super().handle_job_failure(job, queue, started_job_registry, exc_string, execution)
        if run is not None and stopped:
            _setup.reporter.cancelled(run)
        elif run is not None and not retries:
            _failed(run, error or exc_string)

    def handle_job_retry(self, job: Job, queue: Queue, retry: Retry, *args: Any, **kw: Any) -> None:
        """The job has returned a `Retry`."""
        run = _setup.reporter.run_of(job.id)
        count = (job.number_of_retries or 0) + 1
        if run is not None and count <= retry.max:
            _retrying(run, "It asked to be run again.", Retry.get_interval(count, retry.intervals))
        super().handle_job_retry(job, queue, retry, *args, **kw)
        if run is not None and count > retry.max:
            _setup.reporter.failed(run, f"It asked to be run again more than {retry.max} times.")


class JobcastWorker(_Told, Worker):
    """RQ's worker, telling Jobcast of its jobs."""


class JobcastSimpleWorker(_Told, SimpleWorker):
    """RQ's SimpleWorker, telling Jobcast of its jobs; one that runs cannot be stopped by a cancel,
    but can look at `worker.integrations.cancel_requested()`."""


def _withdraw(job: Job, queue: Queue) -> None:
    """Cancels a job that was cancelled in Jobcast while it waited, and that RQ has just taken out
    of its queue."""
    queue.connection.lrem(queue.intermediate_queue_key, 1, job.id)
    with contextlib.suppress(InvalidJobOperation):
        job.cancel()


def _retrying(run: Run, error: BaseException | str, delay: float) -> None:
    _setup.reporter.retrying(run, **_error(error), delay=delay)
    _setup.reporter.flush(HORSE_WORDS)


def _failed(run: Run, error: BaseException | str) -> None:
    _setup.reporter.failed(run, **_error(error))


def _error(error: BaseException | str) -> dict[str, Any]:
    """What `Reporter.failed` takes of an exception, or of RQ's text of one."""
    kind: str | None = None
    message: BaseException | str = error
    trace = None
    if isinstance(error, str):
        trace = error
        last = error.strip().rpartition("\n")[2]
        head, colon, tail = last.partition(": ")
        kind, message = (
            (head.rpartition(".")[2], tail) if colon and " " not in head else (None, last)
        )
    else:
        kind = type(error).__qualname__
    code: ErrorCode = "error"
    if kind == "JobTimeoutException":
        code = "timeout"
    elif isinstance(error, str) and error.startswith("Work-horse terminated"):
        code = "lost"
    return {"error": message, "kind": kind, "code": code, "traceback": trace}


def _settle(job: Job, run: Run, began: datetime) -> None:
    """Tells what became of a job by what RQ has noted of it, where its horse could not."""
    try:
        noted = Job.fetch(job.id, connection=job.connection, serializer=job.serializer)
        status, last = noted.get_status(refresh=False), noted.latest_result()
    except (NoSuchJobError, InvalidJobOperation):
        _setup.reporter.completed(run)  # RQ forgets at once what has succeeded with result_ttl=0
        return
    fresh = last is not None and last.created_at.astimezone(UTC) >= began
    if last is not None and fresh and last.type == Result.Type.SUCCESSFUL:
        _setup.reporter.completed(run, last.return_value)
    elif status in (JobStatus.STOPPED, JobStatus.CANCELED):
        _setup.reporter.cancelled(run)
    elif status in (JobStatus.QUEUED, JobStatus.SCHEDULED):
        _setup.reporter.retrying(run, "It failed, and is run again.")
    else:
        _failed(run, (last.exc_string if last is not None else "") or f"RQ calls it {status}.")
