"""The thread of a process that tells Jobcast of the jobs of another queue.

One thread, so that what is said of a job arrives in the order in which it was said; a thread of its
own, so that no job waits for Jobcast and leases are renewed while the job's code is busy (code in
C that holds the GIL for longer than a lease excepted)."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final, Literal

from redis import Redis
from redis.exceptions import RedisError

from hub.connection import connect_sync
from hub.errors import Busy
from hub.foreign import ForeignJobs, new_token
from hub.scripts import Scripts
from hub.settings import Settings
from worker.integrations.backlog import Backlog, Step
from worker.integrations.run import Run
from worker.persist import will_pass

log = logging.getLogger("jobcast.integrations")

#: Seconds between two heartbeats, at most: a cancel is heard by them.
BEAT: Final = 2.0
#: Seconds between two batches of log lines and progress of a process.
SAY_PAUSE: Final = 0.1
FIRST_WAIT: Final = 0.1
LONGEST_WAIT: Final = 2.0
#: Leases that one call renews.
BEAT_RUNS: Final = 500


class Teller:
    """Tells what it is given, in order, for as long as that takes. `on_cancel` is called, in the
    thread, with a run whose job is cancelled while it runs. After a fork the child has a thread
    and a connection of its own, and may say things of the runs that its parent holds."""

    def __init__(
        self, settings: Settings, lease: float, on_cancel: Callable[[Run], None] | None
    ) -> None:
        self._url = settings.redis_url
        self._scripts = Scripts(settings)
        self.lease = lease
        self._on_cancel = on_cancel
        self._held: dict[str, Run] = {}
        self.away = False
        self._reset()
        os.register_at_fork(after_in_child=partial(_reset_if_there, weakref.ref(self)))

    def after_fork(self) -> None:
        """In the child: what waits is its parent's to tell, and so are the leases."""
        self._reset()
        for run in self._held.values():
            run.inherited = True

    def _reset(self) -> None:
        self._changed = threading.Condition()
        self._backlog = Backlog()
        self._unsaid: dict[str, Run] = {}
        self._thread: threading.Thread | None = None
        self._redis: Redis | None = None
        self._jobs: ForeignJobs | None = None
        self._stopped = False
        self._busy = False
        self._beat_at = self._say_at = 0.0

    # ------------------------------------------------------------------ for any thread

    @contextlib.contextmanager
    def quietly(self, what: str) -> Iterator[None]:
        """Whatever goes wrong with telling is logged: the user's job is not concerned."""
        try:
            yield
        except Exception:
            log.exception("%s was not told", what)

    def put(self, step: Step) -> None:
        """Adds a step behind all others."""
        with self._changed:
            self._backlog.put(step)
            self._wake()

    def say_lines(self, run: Run, text: str, stream: Literal["stdout", "stderr"]) -> None:
        """Log lines, told with the next batch."""
        with self._changed:
            if self._may_say(run):
                run.sayings.write(text, stream)
                self._unsaid[run.ref] = run
                self._wake()

    def say_progress(self, run: Run, progress: bytes) -> None:
        """Progress, told with the next batch unless there is newer one by then."""
        with self._changed:
            if self._may_say(run):
                run.sayings.progress = progress
                self._unsaid[run.ref] = run
                self._wake()

    @staticmethod
    def _may_say(run: Run) -> bool:
        """Not after its end; and a child only where its parent knew of the job in time."""
        return not run.ended and (run.job_id is not None or not run.inherited)

    def run_of(self, ref: str) -> Run | None:
        """The run of a ref that this process (or the one that it was forked from) holds."""
        return self._held.get(ref)

    def hold(self, run: Run) -> None:
        """Knows the run from now on, and renews its lease once it has one."""
        with self._changed:
            self._held[run.ref] = run

    def flush(self, timeout: float) -> bool:
        """Waits until all was told; False when that takes more than `timeout` seconds."""
        with self._changed:
            return self._changed.wait_for(self._all_told, timeout)

    def stop(self) -> None:
        """Tells nothing more. Call `flush` before."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join(LONGEST_WAIT)

    def _all_told(self) -> bool:
        return not self._backlog and not self._unsaid and not self._busy

    def _wake(self) -> None:
        if self._thread is None and not self._stopped:
            self._thread = threading.Thread(
                target=self._work, name="jobcast-integration", daemon=True
            )
            self._thread.start()
        self._changed.notify_all()

    # ------------------------------------------------------------------ the thread

    def _work(self) -> None:
        wait = FIRST_WAIT
        while True:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                while not self._stopped and (due := self._due()) > 0:
                    self._changed.wait(None if due == float("inf") else due)
                if self._stopped:
                    break
                self._busy = True
            try:
                self._turn()
            except (RedisError, OSError, Busy) as error:
                self._is_away(error)
                with self._changed:
                    self._busy = False
                    self._changed.wait_for(lambda: self._stopped, wait)
                wait = min(wait * 2, LONGEST_WAIT)
            except Exception:
                log.exception("something was not told of jobs")
            else:
                wait = FIRST_WAIT
                self._is_back()
        if self._redis is not None:
            self._redis.close()

    def _due(self) -> float:
        """In how many seconds there is something to do; infinity when there is nothing."""
        now = time.monotonic()
        dues = [float("inf")]
        if self._backlog:
            return 0.0
        if self._unsaid:
            dues.append(self._say_at - now)
        if any(not run.inherited for run in self._held.values()):
            dues.append(self._beat_at - now)
        return min(dues)

    def _turn(self) -> None:
        now = time.monotonic()
        if now >= self._beat_at:
            self._beat_at = now + min(self.lease / 3, BEAT)
            self._beat()
        if self._unsaid and now >= self._say_at:
            self._say_at = now + SAY_PAUSE
            for run in list(self._unsaid.values()):
                # What has not started yet waits for its turn among the steps.
                if run.job_id is not None or run.resumes:
                    self._try("what a job said", partial(self._say, run))
        with self._changed:
            step = self._backlog.head if self._backlog else None
        if step is not None:
            self._try("a step", step.tell)
            with self._changed:
                self._backlog.done(step)

    def _try(self, what: str, tell: Callable[[], object]) -> None:
        """Lets pass what waiting mends; of everything else only this one thing is lost."""
        try:
            tell()
        except Exception as error:
            if isinstance(error, Busy) or will_pass(error):
                raise
            log.warning("%s was not told, since Jobcast refuses it: %r", what, error)

    @property
    def jobs(self) -> ForeignJobs:
        """The scripts, over this process's connection. Only for the thread."""
        if self._jobs is None:
            self._redis = connect_sync(self._url)
            self._jobs = ForeignJobs(self._redis, self._scripts)
        return self._jobs

    def _beat(self) -> None:
        held = [run for run in list(self._held.values()) if run.job_id and not run.inherited]
        for first in range(0, len(held), BEAT_RUNS):
            batch = held[first : first + BEAT_RUNS]
            pairs = [(run.job_id or "", run.token) for run in batch]
            for run, status in zip(batch, self.jobs.heartbeat(self.lease, pairs), strict=True):
                if status == "lost":
                    self._lost(run)
                elif status == "cancelling":
                    self._cancel(run)
        for run in list(self._held.values()):
            if run.resumes and run.job_id is None:
                self.ensure(run)

    def _lost(self, run: Run) -> None:
        """The lease was over: the run goes on under another token, if it still may."""
        run.job_id = None
        if run.inherited:
            self.forget(run)
        else:
            run.token = new_token()
            run.resumes = True

    def ensure(self, run: Run) -> bool:
        """Tells that the run has started unless it was told. False when it does not count."""
        if run.over or run.job_id is not None:
            return not run.over
        if run.inherited:
            return False
        started = self.jobs.start(
            run.ref,
            run.job,
            run.token,
            lease=self.lease,
            attempt=run.attempt,
            worker=run.worker,
            take=not run.resumes,
        )
        if started.verdict == "running":
            run.job_id = started.job_id
            run.next_line = started.log_lines + 1
            if started.status == "cancelling":
                self._cancel(run)
        else:
            if started.verdict == "cancelled" and run.resumes:
                self._cancel(run)
            elif started.verdict == "cancelled":
                run.cancelled_before = True
            self.forget(run)
        run.answer()
        return not run.over

    def _cancel(self, run: Run) -> None:
        if run.cancel_requested:
            return
        run.cancel_requested = True
        if self._on_cancel is not None:
            with self.quietly("a cancel"):
                self._on_cancel(run)

    def _say(self, run: Run, *, whole: bool = False) -> None:
        """Tells what the run has said: a batch, or with `whole` all of it."""
        if not self.ensure(run):
            self._nothing_unsaid(run)
        while run.sayings and run.job_id is not None:
            with self._changed:
                lines, progress = run.sayings.batch(), run.sayings.progress
            held: str | None = ""
            if lines:
                held = self.jobs.log(run.job_id, run.token, run.next_line, lines)
                if held is not None:
                    run.next_line += len(lines)
                    with self._changed:
                        run.sayings.lines_told(len(lines))
            if progress is not None and held is not None:
                held = self.jobs.progress(run.job_id, run.token, progress)
                with self._changed:
                    run.sayings.progress_told(progress)
            if held is None:
                self._lost(run)
                return
            if not whole:
                break
        with self._changed:
            if not run.sayings:
                self._unsaid.pop(run.ref, None)

    def last_words(self, run: Run, tell: Callable[[], str | None]) -> None:
        """Tells what the run has said, and then `tell`, which returns None when the run's lease was
        over; then the run is forgotten."""
        for _ in range(2):
            if not self.ensure(run):
                break
            self._say(run, whole=True)
            if not self.ensure(run) or tell() is not None:
                break
            self._lost(run)
        self.forget(run)

    def forget(self, run: Run) -> None:
        """The run is over; nothing more is told of it."""
        with self._changed:
            run.over = run.ended = True
            if self._held.get(run.ref) is run:
                del self._held[run.ref]
        self._nothing_unsaid(run)

    def _nothing_unsaid(self, run: Run) -> None:
        with self._changed:
            run.sayings.clear()
            if self._unsaid.get(run.ref) is run:
                del self._unsaid[run.ref]

    def _is_away(self, error: Exception) -> None:
        if not self.away:
            log.warning("Jobcast cannot be told of jobs for now (they go on): %s", error)
        self.away = True
        for run in list(self._held.values()):
            run.answer()  # its job is not to wait

    def _is_back(self) -> None:
        with self._changed:
            lost, self._backlog.lost = self._backlog.lost, 0
        if lost:
            log.warning("%d things could not be told of jobs: too many waited", lost)
        self.away = False


def _reset_if_there(found: weakref.ref[Teller]) -> None:
    teller = found()
    if teller is not None:
        teller.after_fork()
