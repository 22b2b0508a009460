"""The thread that sees to it that nothing runs on past its lease.

It stops jobs that could not be renewed, through the event loop while that listens, and ends the
whole process where code cannot be stopped: the warden starts a fresh worker.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Final

from worker.clock import boottime
from worker.epilogue import LastWord
from worker.leases import MARGIN, Held, Leases

log = logging.getLogger("jobcast.worker")

#: Exit status of a worker that ends itself because of what it cannot stop.
EXIT_UNSTOPPABLE: Final = 75
#: Seconds within which an event loop that is not stuck answers.
PATIENCE: Final = 2.0
_NEXT: Final = "this worker ends and a fresh one starts"
_LONGEST_LOOK: Final = 1.0
_SHORTEST_LOOK: Final = 0.02


class Watchdog:
    """Watches the claims of `leases`. `speak(words)` must end the process at once, and then say
    these last words."""

    def __init__(
        self,
        leases: Leases,
        post: Callable[[Callable[[], None]], None],
        speak: Callable[[Sequence[LastWord]], object],
    ) -> None:
        self._leases = leases
        self._post = post
        self._speak = speak
        self._margin = leases.lease * MARGIN
        self._stopping = threading.Event()
        self._asked_at: float | None = None
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def start(self) -> None:
        """Starts watching."""
        self._thread.start()

    def stop(self) -> None:
        """Watches no more; returns when the thread has ended."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        pause = _LONGEST_LOOK
        while not self._stopping.wait(pause):
            pause = max(_SHORTEST_LOOK, min(_LONGEST_LOOK, self.look() - boottime()))

    def look(self) -> float:
        """Does what is due; returns when to look again at the latest (`boottime()`)."""
        now = boottime()
        again = now + min(_LONGEST_LOOK, self._margin / 2)
        late: Held | None = None
        for held in self._leases.held():
            if held.alive and now >= held.valid_until:
                log.critical(
                    "job %s: its lease is over, and its code could not be stopped: %s",
                    held.job_id,
                    _NEXT,
                )
                # Where Redis was away, the tokens may still be good when it is back.
                self._speak([each.last_word() for each in self._leases.held()])
                return again
            if not held.fenced and now >= held.valid_until - self._margin:
                held.fenced = True
                self._post(lambda tell=held.tell: tell("fence"))  # type: ignore[misc]
            if held.alive and now >= held.overdue:
                late = held
            again = min(again, held.valid_until if held.fenced else again)
        self._ask_the_loop(now, late)
        return again

    def _ask_the_loop(self, now: float, late: Held | None) -> None:
        """An event loop that does not answer while a job of it is overdue is stuck."""
        if late is None:
            self._asked_at = None
        elif self._asked_at is None:
            self._asked_at = now
            self._post(lambda: self._answered(late))
        elif now - self._asked_at > PATIENCE:
            log.critical(
                "job %s is overdue, and code that never gives way blocks the worker: %s",
                late.job_id,
                _NEXT,
            )
            self._speak([held.last_word() for held in self._leases.held()])

    def _answered(self, held: Held) -> None:
        # The loop runs, so ending this job is in good hands.
        held.overdue = float("inf")
