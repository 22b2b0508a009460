"""taskiq with Jobcast beside it.

    from worker.integrations.taskiq import install

    broker = RedisStreamBroker("redis://127.0.0.1:6379/1")
    install(broker)                                  # after its other middlewares

    await send.kicker().with_labels(jobcast_session="s1").kiq(3)

Messages with the label `jobcast_session` become Jobcast jobs of that session, by a middleware of
the broker. `await tracker.set_progress("sending", {"current": 3, "total": 9})` of taskiq's
`ProgressTracker` is progress; a number alone is per cent.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

from taskiq import AsyncBroker, TaskiqMessage, TaskiqMiddleware, TaskiqResult
from taskiq.exceptions import NoResultError

from hub.foreign import ForeignJob
from hub.settings import Settings
from worker.integrations.reporter import LEASE, SESSION_HEADER, Reporter
from worker.integrations.run import Run, current_run
from worker.integrations.sessions import asked
from worker.integrations.stopping import CancelledInJobcast, Stoppable

#: A session for a task, from its name, args and kwargs; None: it is none of Jobcast's.
SessionOf = Callable[[str, Sequence[Any], Mapping[str, Any]], str | None]

#: Seconds past a stream's idle time for another worker to take a message over.
ROOM: Final = 60.0
_RETRIES: Final = "_retries"
_REQUEUED: Final = "X-Taskiq-requeue"
_PROGRESS: Final = ("percent", "current", "total", "message")


def install(
    broker: AsyncBroker,
    settings: Settings | None = None,
    *,
    session_of: SessionOf | None = None,
    lease: float = LEASE,
    show_params: bool = True,
    show_result: bool = True,
) -> JobcastMiddleware:
    """Tells Jobcast of a broker's tasks: call it in every process, after other middlewares were
    added (a middleware that retries is heard best by one that comes after it).

    `settings` are those of the hub (`JOBCAST_*` unless given); `session_of` names the session of
    tasks without the label. taskiq cannot revoke: a cancel in Jobcast cancels the coroutine of a
    task that runs; for one that runs in a thread, `worker.integrations.cancel_requested()` turns
    true. Raises SettingsError for a bad variable."""
    middleware = JobcastMiddleware(
        settings,
        session_of=session_of,
        lease=lease,
        show_params=show_params,
        show_result=show_result,
    )
    broker.add_middlewares(middleware)
    return middleware


@dataclass
class _Running:
    """What is known of a task while this process runs it; `run` is None where it has no session.
    `before` is what ran in this context until then: a broker in memory may run one task within
    another."""

    task_id: str
    run: Run | None
    requeued: str
    before: _Running | None
    error: BaseException | None = None
    retried: bool = False
    over: bool = False


#: By context, not by id: a task that is retried may have begun again before its end was told.
_running: ContextVar[_Running | None] = ContextVar("jobcast_taskiq", default=None)


def _held(task_id: str) -> _Running | None:
    held = _running.get()
    return held if held is not None and held.task_id == task_id else None


class JobcastMiddleware(TaskiqMiddleware):
    """What `install` adds; `reporter.jobcast_id(task_id)` is the Jobcast job of a task."""

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        session_of: SessionOf | None = None,
        lease: float = LEASE,
        show_params: bool = True,
        show_result: bool = True,
    ) -> None:
        super().__init__()
        self._stoppable = Stoppable()
        self._session_of = asked(session_of)
        self.reporter = Reporter(
            "taskiq",
            settings,
            lease=lease,
            on_cancel=self._stoppable.stop,
            show_params=show_params,
            show_result=show_result,
        )

    async def startup(self) -> None:
        """Hears of progress from now on."""
        backend: Any = self.broker.result_backend
        original = backend.set_progress

        @functools.wraps(original)
        async def set_progress(task_id: str, progress: Any) -> None:
            await original(task_id, progress)
            held = _held(task_id)
            if held is not None and held.run is not None:
                _tell_progress(held.run, progress.state, progress.meta)

        backend.set_progress = set_progress

    async def shutdown(self) -> None:
        """Tells what is left."""
        await self.reporter.flush_async()

    # ------------------------------------------------------------------ where it is queued

    def pre_send(self, message: TaskiqMessage) -> TaskiqMessage:
        """What `session_of` says here travels along: the worker may not have it."""
        if SESSION_HEADER not in message.labels:
            session = self._session_of(message.task_name, message.args, message.kwargs)
            if session is not None:
                message.labels[SESSION_HEADER] = session
        return message

    def post_send(self, message: TaskiqMessage) -> None:
        """The task waits; or it is tried again, by a middleware that runs after the failure."""
        if _RETRIES not in message.labels:
            self.reporter.queued(message.task_id, self._describe(message))
        elif (held := _held(message.task_id)) is not None:
            held.retried = True

    def _describe(self, message: TaskiqMessage) -> ForeignJob | None:
        idle: float | None = getattr(self.broker, "idle_timeout", None)
        return self.reporter.describe(
            message.task_id,
            message.task_name,
            message.labels.get(SESSION_HEADER),
            args=message.args,
            kwargs=message.kwargs,
            max_attempts=self._tries(message.labels),
            redelivers=None if idle is None else idle / 1000 + ROOM,
        )

    def _tries(self, labels: Mapping[str, Any]) -> int:
        """How often taskiq's own middlewares may run it in all."""
        for other in self.broker.middlewares:
            count = getattr(other, "default_retry_count", None)
            retries = labels.get("retry_on_error", getattr(other, "default_retry_label", False))
            if count is not None and str(retries).lower() == "true":
                return int(labels.get("max_retries", count))
        return 1

    # ------------------------------------------------------------------ where it runs

    async def pre_execute(self, message: TaskiqMessage) -> TaskiqMessage:
        """Before the code, which inherits the context."""
        task = self.broker.find_task(message.task_name)
        if task is not None and not hasattr(task.original_func, "jobcast"):
            task.original_func = self._guarded(task.original_func)
        run = await self.reporter.start_async(
            message.task_id,
            self._describe(message),
            attempt=int(message.labels.get(_RETRIES, 0)) + 1,
        )
        current_run.set(run)
        requeued = str(message.labels.get(_REQUEUED))
        held = _Running(message.task_id, run, requeued, _running.get())
        _running.set(held)
        this = asyncio.current_task()
        if this is not None:
            # Whatever else goes wrong between here and post_execute: it is not running then.
            this.add_done_callback(functools.partial(self._gone, held))
        return message

    def _guarded(self, original: Callable[..., Any]) -> Any:
        if not inspect.iscoroutinefunction(original):
            return _InThread(original)

        @functools.wraps(original)
        async def guarded(*args: Any, **kwargs: Any) -> Any:
            run = current_run.get()
            if run is None:
                return await original(*args, **kwargs)
            with self._stoppable.running(run):
                return await original(*args, **kwargs)

        vars(guarded)["jobcast"] = True
        return guarded

    def on_error(
        self, message: TaskiqMessage, result: TaskiqResult[Any], exception: BaseException
    ) -> None:
        """What it failed with, whatever others make of it."""
        if (held := _held(message.task_id)) is not None:
            held.error = exception

    def post_execute(self, message: TaskiqMessage, result: TaskiqResult[Any]) -> None:
        """What came of it. (post_save would be later, but is left out when saving fails.)"""
        held = _held(message.task_id)
        if held is None:
            return
        held.over = True
        _running.set(held.before)
        current_run.set(None if held.before is None else held.before.run)
        run, error = held.run, held.error or result.error
        if error is None:
            self.reporter.completed(run, result.return_value)
        elif isinstance(error, CancelledInJobcast):
            self.reporter.cancelled(run)
        elif isinstance(error, NoResultError):
            if held.requeued != str(message.labels.get(_REQUEUED)):
                self.reporter.released(run)
            else:
                self.reporter.completed(run)
        elif held.retried or isinstance(result.error, NoResultError):
            self.reporter.retrying(run, error, code=_code(error))
        else:
            self.reporter.failed(run, error, code=_code(error))

    def _gone(self, held: _Running, _: asyncio.Task[Any]) -> None:
        if not held.over:
            words = "taskiq gave it up without saying what came of it."
            self.reporter.failed(held.run, held.error or words)


class _InThread:
    """A plain function: not called where its job was cancelled before. Pickled as the function,
    so that it may go to another process."""

    jobcast = True

    def __init__(self, original: Callable[..., Any]) -> None:
        functools.update_wrapper(self, original)
        self._original = original

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        run = current_run.get()
        if run is not None and run.cancelled_before:
            raise CancelledInJobcast
        return self._original(*args, **kwargs)

    def __reduce__(self) -> Any:
        return _itself, (self._original,)


def _itself(function: Callable[..., Any]) -> Callable[..., Any]:
    return function


def _tell_progress(run: Run, state: Any, meta: Any) -> None:
    words = str(getattr(state, "value", state))
    if isinstance(meta, Mapping):
        told = {name: meta[name] for name in _PROGRESS if meta.get(name) is not None}
        run.progress(**{"message": words, **told})
    elif isinstance(meta, int | float) and not isinstance(meta, bool):
        run.progress(meta, message=words)
    else:
        run.progress(message=words if meta is None else str(meta))


def _code(error: BaseException) -> Any:
    return "timeout" if isinstance(error, TimeoutError) else "error"
