"""Celery with Jobcast beside it.

    from celery import Celery
    from worker.integrations.celery import install

    app = Celery("proj", broker="redis://127.0.0.1:6379/1")
    install(app)                                     # right after the app is made, in every process

    add.apply_async((2, 3), headers={"jobcast_session": "s1"})

Tasks whose message has the header `jobcast_session` become Jobcast jobs of that session, by
Celery's signals: publishing, start, success, failure, retry, revocation, expiry, time limits and
lost processes. `self.update_state(state="PROGRESS", meta={"current": 3, "total": 9})` is progress.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextvars import Token
from datetime import UTC, datetime
from typing import Any, Final, Literal

import celery
from celery import signals
from celery.exceptions import (
    Ignore,
    Reject,
    SoftTimeLimitExceeded,
    TimeLimitExceeded,
    WorkerLostError,
)

from hub.foreign import ForeignJob
from hub.settings import Settings
from worker.integrations.reporter import LEASE, SESSION_HEADER, ErrorCode, Reporter
from worker.integrations.run import Run, current_run
from worker.integrations.sessions import asked

#: A session for a task, from its name, args and kwargs; None: it is none of Jobcast's.
SessionOf = Callable[[str, Sequence[Any], Mapping[str, Any]], str | None]

#: Seconds for which Celery's Redis transport hides a message from others unless told otherwise.
VISIBILITY: Final = 3_600.0


def install(
    app: celery.Celery,
    settings: Settings | None = None,
    *,
    session_of: SessionOf | None = None,
    on_cancel: Literal["terminate", "ask"] = "terminate",
    lease: float = LEASE,
    show_params: bool = True,
    show_result: bool = True,
) -> CeleryJobcast:
    """Tells Jobcast of an app's tasks: call it once, before tasks are declared.

    `settings` are those of the hub (`JOBCAST_*` unless given); `session_of` names the session of
    tasks without the header. A cancel in Jobcast of a task that runs revokes it with
    `terminate=True` (which the prefork pool can), or with `on_cancel="ask"` only turns
    `worker.integrations.cancel_requested()` true. Raises SettingsError for a bad variable."""
    return CeleryJobcast(
        app,
        Reporter(
            "celery",
            settings,
            lease=lease,
            on_cancel=(lambda run: _terminate(app, run)) if on_cancel == "terminate" else None,
            show_params=show_params,
            show_result=show_result,
        ),
        session_of,
    )


def _terminate(app: celery.Celery, run: Run) -> None:
    app.control.revoke(run.ref.removeprefix("celery:"), terminate=True)


class CeleryJobcast:
    """What `install` returns. `reporter.jobcast_id(task_id)` is the Jobcast job of a task."""

    def __init__(
        self, app: celery.Celery, reporter: Reporter, session_of: SessionOf | None
    ) -> None:
        self.app = app
        self.reporter = reporter
        self._session_of = asked(session_of)
        #: The tasks that this process is running, also those without a session.
        self._here: dict[str, tuple[Run | None, Token[Run | None]]] = {}
        self._extend_base()
        for signal, receiver in self._receivers():
            signal.connect(receiver, weak=False)

    def uninstall(self) -> None:
        """Tells nothing more: tasks are as before, but for their base class."""
        for signal, receiver in self._receivers():
            signal.disconnect(receiver)
        self.reporter.close()

    def _receivers(self) -> list[tuple[Any, Callable[..., None]]]:
        return [
            (signals.before_task_publish, self._before_publish),
            (signals.after_task_publish, self._after_publish),
            (signals.task_prerun, self._prerun),
            (signals.task_success, self._success),
            (signals.task_failure, self._failure),
            (signals.task_internal_error, self._failure),
            (signals.task_retry, self._retry),
            (signals.task_postrun, self._postrun),
            (signals.task_revoked, self._revoked),
            (signals.task_unknown, self._unknown),
            (signals.worker_process_shutdown, self._last_words),
            (signals.worker_shutdown, self._last_words),
        ]

    def _extend_base(self) -> None:
        """The documented way to tasks' `update_state` and `before_start` is the app's base task."""
        members = {"abstract": True, "jobcast": self, "__module__": __name__}
        self.app.Task = type("Task", (_ToldTask, self.app.Task), members)

    # ------------------------------------------------------------------ where it is queued

    def _session(self, name: str, headers: Mapping[str, Any], args: Any, kwargs: Any) -> str | None:
        session = headers.get(SESSION_HEADER)
        return self._session_of(name, args or (), kwargs or {}) if session is None else session

    def _before_publish(self, sender: str, headers: dict[str, Any], body: Any, **_: Any) -> None:
        """What `session_of` says here travels along: the worker may not have it."""
        args, kwargs = _arguments(body)
        if "id" in headers:
            session = self._session(sender, headers, args, kwargs)
            if session is not None:
                headers[SESSION_HEADER] = session

    def _after_publish(self, sender: str, headers: dict[str, Any], body: Any, **_: Any) -> None:
        task_id, session = headers.get("id"), headers.get(SESSION_HEADER)
        if task_id is None or session is None or headers.get("retries"):
            return
        args, kwargs = _arguments(body)
        job = self._describe(task_id, sender, session, args, kwargs)
        self.reporter.queued(task_id, job, delay=_until(headers.get("eta")))

    def _describe(
        self, task_id: str, name: str, session: str, args: Any, kwargs: Any
    ) -> ForeignJob | None:
        task = self.app.tasks.get(name)
        retries = getattr(task, "max_retries", 0)
        return self.reporter.describe(
            task_id,
            name,
            session,
            args=args or (),
            kwargs=kwargs,
            max_attempts=1 if retries is None else retries + 1,
            redelivers=self._redelivers() if getattr(task, "acks_late", False) else None,
        )

    def _redelivers(self) -> float:
        """A broker may take as long as its visibility timeout to see that a worker is gone."""
        options = self.app.conf.broker_transport_options or {}
        return float(options.get("visibility_timeout", VISIBILITY)) * 1.5 + 60

    # ------------------------------------------------------------------ where it runs

    def _prerun(self, task_id: str, task: Any, args: Any, kwargs: Any, **_: Any) -> None:
        request = task.request
        session = self._session(task.name, request.headers or {}, args, kwargs)
        run = None
        if session is not None:
            run = self.reporter.start(
                task_id,
                self._describe(task_id, task.name, session, args, kwargs),
                attempt=(request.retries or 0) + 1,
                worker=f"{request.hostname or 'eager'}:{os.getpid()}",
            )
        self._here[task_id] = run, current_run.set(run)

    def skip_if_cancelled(self, task: Any, task_id: str) -> None:
        """Raises Ignore for a task that was cancelled in Jobcast while it waited."""
        run = self._run(task_id)
        if run is not None and run.cancelled_before:
            reason = "cancelled in Jobcast"
            task.backend.mark_as_revoked(task_id, reason, request=task.request)
            raise Ignore(reason)

    def progress_of(self, task_id: str, meta: Any) -> None:
        """Tells what a task's `update_state` says of progress, if it does."""
        run = self._run(task_id)
        if run is not None and isinstance(meta, Mapping):
            told = {name: meta[name] for name in _PROGRESS if meta.get(name) is not None}
            if told:
                run.progress(**told)

    def _success(self, sender: Any, result: Any, **_: Any) -> None:
        self.reporter.completed(self._run(sender.request.id), result)

    def _failure(self, task_id: str, exception: BaseException, einfo: Any = None, **_: Any) -> None:
        """In the process that runs it; or in its parent, which killed it or found it dead."""
        kind = type(exception).__qualname__
        code = _code(exception)
        if task_id in self._here:
            traceback = None if einfo is None else str(einfo.traceback)
            self.reporter.failed(
                self._run(task_id), exception, code=code, kind=kind, traceback=traceback
            )
        else:
            self.reporter.ended(task_id, "failed", str(exception), code=code, kind=kind)

    def _retry(self, request: Any, reason: Any = None, einfo: Any = None, **_: Any) -> None:
        if reason is None:
            return  # cancelled by a worker that lost its broker; the broker hands it out again
        error = reason.exc or reason
        self.reporter.retrying(
            self._run(request.id),
            error if isinstance(error, BaseException) else str(error),
            delay=_until(reason.when) or 0.0,
            traceback=None if einfo is None else str(einfo.traceback),
        )

    def _postrun(
        self, task_id: str, state: str | None = None, retval: Any = None, **_: Any
    ) -> None:
        run, mark = self._here.pop(task_id, (None, None))
        if mark is not None:
            current_run.reset(mark)
        if run is None:
            return
        if state == "REJECTED" and isinstance(retval, Reject) and not retval.requeue:
            self.reporter.failed(run, str(retval.reason or "rejected"), kind="Reject")
        elif state == "REJECTED":
            self.reporter.released(run)
        elif state == "IGNORED" and run.cancel_requested:
            self.reporter.cancelled(run)
        elif state == "IGNORED":
            self.reporter.completed(run)

    def _run(self, task_id: str) -> Run | None:
        return self._here.get(task_id, (None, None))[0]

    # ------------------------------------------------------------------ beside it

    def _revoked(self, request: Any, expired: bool = False, **_: Any) -> None:
        if expired:
            error = "It was not started before it expired."
            self.reporter.ended(request.id, "failed", error, code="expired")
        else:
            self.reporter.ended(request.id, "cancelled")

    def _unknown(self, name: str, id: str, **_: Any) -> None:
        error = f"Celery's worker has no task {name!r}."
        self.reporter.ended(id, "failed", error, code="permanent")

    def _last_words(self, **_: Any) -> None:
        self.reporter.flush()


class _ToldTask:
    """What an app's base task does besides."""

    jobcast: CeleryJobcast
    request: Any

    def update_state(
        self, task_id: str | None = None, state: str | None = None, meta: Any = None, **more: Any
    ) -> None:
        parent: Any = super()
        parent.update_state(task_id, state, meta, **more)
        self.jobcast.progress_of(task_id or self.request.id, meta)

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        parent: Any = super()
        parent.before_start(task_id, args, kwargs)
        self.jobcast.skip_if_cancelled(self, task_id)


_PROGRESS: Final = ("percent", "current", "total", "message")


def _arguments(body: Any) -> tuple[Any, Any]:
    """The args and kwargs of a message of Celery's protocol 2."""
    if isinstance(body, tuple | list) and len(body) >= 2:
        return body[0], body[1]
    return (), {}


def _until(when: Any) -> float | None:
    """Seconds until an eta (a datetime, ISO text) or a countdown; None for none."""
    if isinstance(when, int | float):
        return float(when)
    if isinstance(when, str):
        when = datetime.fromisoformat(when)
    if not isinstance(when, datetime):
        return None
    aware = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max(0.0, (aware - datetime.now(UTC)).total_seconds())


def _code(error: BaseException) -> ErrorCode:
    if isinstance(error, TimeLimitExceeded | SoftTimeLimitExceeded):
        return "timeout"
    return "lost" if isinstance(error, WorkerLostError) else "error"
