"""Dramatiq with Jobcast beside it.

    from worker.integrations.dramatiq import Jobcast

    broker.add_middleware(Jobcast())                 # where the broker is made, in every process

    add.send_with_options(args=(2, 3), jobcast_session="s1")

Messages with the option `jobcast_session` become Jobcast jobs of that session, by Dramatiq's own
middleware. `worker.integrations.progress` and `log` work inside of actors.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

from dramatiq import Message
from dramatiq.broker import Broker, MessageProxy
from dramatiq.middleware import Middleware, Retries, SkipMessage, TimeLimitExceeded
from dramatiq.middleware.threading import Interrupt, is_gevent_active, raise_thread_exception
from dramatiq.worker import Worker

from hub.foreign import ForeignJob
from hub.settings import Settings
from worker.integrations.reporter import LEASE, SESSION_HEADER, ErrorCode, Reporter
from worker.integrations.run import Run, current_run
from worker.integrations.sessions import asked

#: A session for a message; None: it is none of Jobcast's.
SessionOf = Callable[[Any], str | None]

#: Seconds for a broker to see that a worker is gone, and to hand its messages out again: Redis's
#: broker looks now and then only.
REDELIVERED: Final = 3_600.0


class Cancelled(Interrupt):
    """Raised in the thread of an actor whose job is cancelled in Jobcast. It may be caught to clean
    up, and is not retried."""


@dataclass
class _Work:
    """A message that a thread of this process is working on."""

    run: Run
    message: MessageProxy
    thread: int
    outer: Run | None
    running: bool = True
    result: Any = None
    error: BaseException | None = None
    #: Milliseconds until it is tried again, once it is clear that it is.
    again: float | None = None


class Jobcast(Middleware):
    """Tells Jobcast of a broker's messages; add it to the broker, once.

    `settings` are those of the hub (`JOBCAST_*` unless given); `session_of` names the session of
    messages without the option. A cancel in Jobcast raises `Cancelled` in the actor (as Dramatiq's
    time limits do; CPython, no gevent), or with `on_cancel="ask"` only turns
    `worker.integrations.cancel_requested()` true. `reporter.jobcast_id(message.message_id)` is the
    Jobcast job of a message. Raises SettingsError for a bad variable."""

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        session_of: SessionOf | None = None,
        on_cancel: Literal["interrupt", "ask"] = "interrupt",
        lease: float = LEASE,
        show_params: bool = True,
        show_result: bool = True,
    ) -> None:
        self.reporter = Reporter(
            "dramatiq",
            settings,
            lease=lease,
            on_cancel=self._interrupt if on_cancel == "interrupt" else None,
            show_params=show_params,
            show_result=show_result,
        )
        self._session_of = asked(session_of)
        self._lock = threading.Lock()
        self._work: dict[str, _Work] = {}

    @property
    def actor_options(self) -> set[str]:
        """An actor may have a session for all its messages."""
        return {SESSION_HEADER}

    # ------------------------------------------------------------------ where it is queued

    def _session(self, broker: Broker, message: Message[Any] | MessageProxy) -> str | None:
        session: str | None = message.options.get(SESSION_HEADER)
        if session is None and message.actor_name in broker.actors:
            session = broker.get_actor(message.actor_name).options.get(SESSION_HEADER)
        return self._session_of(message) if session is None else session

    def before_enqueue(self, broker: Broker, message: Message[Any], delay: int) -> None:
        """What the session is here travels along: the worker may not know."""
        session = self._session(broker, message)
        if session is not None:
            message.options[SESSION_HEADER] = session

    def after_enqueue(self, broker: Broker, message: Message[Any], delay: int) -> None:
        """It waits; or is tried again, if it is being worked on here."""
        work = self._work.get(message.message_id)
        if work is not None:
            work.again = float(delay or 0)
        elif not message.options.get("retries"):
            job = self._describe(broker, message)
            wait = None if not delay else delay / 1000
            self.reporter.queued(message.message_id, job, delay=wait)

    def _describe(self, broker: Broker, message: Message[Any] | MessageProxy) -> ForeignJob | None:
        return self.reporter.describe(
            message.message_id,
            message.actor_name,
            self._session(broker, message),
            args=message.args,
            kwargs=message.kwargs,
            max_attempts=_attempts(broker, message),
            redelivers=REDELIVERED,
        )

    # ------------------------------------------------------------------ where it runs

    def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
        """Starts it. Raises SkipMessage for one that was cancelled in Jobcast while it waited."""
        run = self.reporter.start(
            message.message_id,
            self._describe(broker, message),
            attempt=message.options.get("retries", 0) + 1,
            worker=f"dramatiq:{os.getpid()}:{threading.current_thread().name}",
        )
        if run is None:
            return
        if run.cancelled_before:
            raise SkipMessage("cancelled in Jobcast")
        work = _Work(run, message, threading.get_ident(), current_run.get())
        self._work[message.message_id] = work
        current_run.set(run)

    def after_process_message(
        self,
        broker: Broker,
        message: MessageProxy,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        """Its code has ended; what that means is known when it is acknowledged."""
        work = self._stopped(message)
        if work is not None:
            work.result, work.error = result, exception

    def after_skip_message(self, broker: Broker, message: MessageProxy) -> None:
        """Other middleware does not want it to run."""
        self._stopped(message)
        self._work.pop(message.message_id, None)
        if self._session(broker, message) is None:
            return
        run = self.reporter.run_of(message.message_id)
        error = "Dramatiq's middleware skipped it."
        if run is None and message.failed:
            self.reporter.ended(message.message_id, "failed", error, code="permanent")
        elif run is None:
            self.reporter.ended(message.message_id, "cancelled")
        elif message.failed:
            self.reporter.failed(run, error, code="permanent")
        else:
            self.reporter.cancelled(run)

    def before_ack(self, broker: Broker, message: MessageProxy) -> None:
        """Done with: it has succeeded, or is tried again, or nobody retries."""
        work = self._work.pop(message.message_id, None)
        if work is None:
            return
        if work.error is None:
            self.reporter.completed(work.run, work.result)
        elif work.again is not None:
            self.reporter.retrying(work.run, work.error, delay=work.again / 1000)
        else:
            self._failed(work)

    def before_nack(self, broker: Broker, message: MessageProxy) -> None:
        """Given up."""
        work = self._work.pop(message.message_id, None)
        if work is not None:
            self._failed(work)

    def after_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        """Says its last words."""
        self.reporter.flush()

    def _failed(self, work: _Work) -> None:
        if isinstance(work.error, Cancelled):
            self.reporter.cancelled(work.run)
            return
        code: ErrorCode = "timeout" if isinstance(work.error, TimeLimitExceeded) else "error"
        self.reporter.failed(work.run, work.error or "Dramatiq rejected it.", code=code)

    def _stopped(self, message: MessageProxy) -> _Work | None:
        with self._lock:
            work = self._work.get(message.message_id)
            if work is not None and work.running:
                work.running = False
                current_run.set(work.outer)
            return work

    def _interrupt(self, run: Run) -> None:
        """Somebody cancelled a job that runs."""
        if is_gevent_active():
            return
        with self._lock:
            work = self._work.get(run.ref.removeprefix("dramatiq:"))
            if work is not None and work.running:
                # Dramatiq's own way to have an exception not retried; of this copy only.
                work.message.options["throws"] = Cancelled
                raise_thread_exception(work.thread, Cancelled)


def _attempts(broker: Broker, message: Message[Any] | MessageProxy) -> int | None:
    """How often a message may be tried; None where it is not known, or there is no end."""
    if message.actor_name not in broker.actors:
        return None
    default = next((m.max_retries for m in broker.middleware if isinstance(m, Retries)), 0)
    options = broker.get_actor(message.actor_name).options
    retries = message.options.get("max_retries", options.get("max_retries", default))
    return None if retries is None else retries + 1
