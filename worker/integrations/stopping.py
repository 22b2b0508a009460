"""Stopping code that runs in an event loop, when its job is cancelled in Jobcast."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator

from worker.integrations.run import Run


class CancelledInJobcast(Exception):
    """What a library is told of a job that was cancelled in Jobcast: an error, since it would take
    a CancelledError for its own."""

    def __init__(self) -> None:
        super().__init__("cancelled in Jobcast")


class Stoppable:
    """The asyncio tasks in which runs have their code running, at most one each."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tasks: dict[str, tuple[asyncio.AbstractEventLoop, asyncio.Task[object]]] = {}

    def stop(self, run: Run) -> None:
        """Cancels the task of a run, if there is one; from any thread."""
        with self._lock:
            loop, task = self._tasks.get(run.ref, (None, None))
        if loop is not None and task is not None:
            with contextlib.suppress(RuntimeError):  # the loop has been closed meanwhile
                loop.call_soon_threadsafe(self._cancel, run.ref, task)

    def _cancel(self, ref: str, task: asyncio.Task[object]) -> None:
        # What follows the code in the same task is not to be cancelled.
        with self._lock:
            _, running = self._tasks.get(ref, (None, None))
        if running is task:
            task.cancel()

    @contextlib.contextmanager
    def running(self, run: Run) -> Iterator[None]:
        """Around the code of a run, in its task. Raises CancelledInJobcast in place of the
        CancelledError that `stop` has brought about, and before the code where the job was
        cancelled before."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a run's code is stopped by its asyncio task, and this is none")
        if run.cancelled_before or run.cancel_requested:
            raise CancelledInJobcast
        with self._lock:
            self._tasks[run.ref] = asyncio.get_running_loop(), task
        try:
            if run.cancel_requested:
                self.stop(run)
            yield
        except asyncio.CancelledError:
            if not run.cancel_requested:
                raise
            task.uncancel()
            raise CancelledInJobcast from None
        finally:
            with self._lock:
                self._tasks.pop(run.ref, None)
