"""`Run`: one process's hold on a job of another queue, and what its code may say meanwhile."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Literal

from hub.foreign import ForeignJob, new_token
from worker.integrations.backlog import Sayings
from worker.integrations.facts import progress_json

if TYPE_CHECKING:
    from worker.integrations.teller import Teller

#: The run whose code is running here.
current_run: ContextVar[Run | None] = ContextVar("jobcast_run", default=None)


class Run:
    """A job while this process runs it; `Reporter.start` makes it. No method raises or blocks.

    `cancelled_before` is True when the job was cancelled in Jobcast before it started (once
    `Reporter.start` has returned, unless that waited in vain): do not run it. `cancel_requested`
    turns True, within seconds, when it is cancelled while it runs."""

    def __init__(
        self,
        teller: Teller,
        ref: str,
        job: ForeignJob,
        *,
        attempt: int | None,
        worker: str | None,
        line_bytes: int,
    ) -> None:
        self.ref = ref
        self.job = job
        self.attempt = attempt
        self.worker = worker
        self.cancelled_before = False
        self.cancel_requested = False
        # The rest is the teller's.
        self.token = new_token()
        self.job_id: str | None = None
        self.next_line = 1
        self.resumes = False
        self.inherited = False
        self.ended = False  # as far as its own process is concerned
        self.over = False  # and Jobcast was told, or does not want to hear of it
        self.sayings = Sayings(line_bytes)
        self.answered = threading.Event()
        self._teller = teller
        self._on_answer: list[Callable[[], object]] = []

    # ------------------------------------------------------------------ while it runs

    def progress(self, value: float | None = None, of: float | None = None, /, **told: Any) -> None:
        """How far the job is: `progress(45)` per cent, `progress(23, 47)`, or `percent`, `current`,
        `total` and `message` by name. The latest counts, ten a second at most."""
        with self._teller.quietly("progress"):
            self._teller.say_progress(self, progress_json(value, of, **told))

    def log(self, text: object, stream: Literal["stdout", "stderr"] = "stdout") -> None:
        """Adds lines to the job's log. While Jobcast is away 2,000 of them are kept."""
        with self._teller.quietly("log"):
            self._teller.say_lines(self, str(text), stream)

    @contextlib.contextmanager
    def as_current(self) -> Iterator[Run]:
        """Makes `worker.integrations.progress` and `log` mean this run, in this context."""
        mark = current_run.set(self)
        try:
            yield self
        finally:
            current_run.reset(mark)

    # ------------------------------------------------------------------ the teller's

    def answer(self) -> None:
        """Jobcast has answered to the start, or will not."""
        self.answered.set()
        waiting, self._on_answer = self._on_answer, []
        for call in waiting:
            with contextlib.suppress(RuntimeError):  # a loop that has been closed meanwhile
                call()

    def when_answered(self, call: Callable[[], object]) -> None:
        """Calls `call` from any thread once the start was answered; at once when it was."""
        self._on_answer.append(call)
        if self.answered.is_set():
            self.answer()
