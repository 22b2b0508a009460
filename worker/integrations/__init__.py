"""Jobcast beside another queue: its jobs become Jobcast jobs, run by that queue as before.

One module for each library (`worker.integrations.celery`, `rq`, `dramatiq`, `arq`, `saq`,
`taskiq`), each to be imported by itself. The code of a job may say how far it is, whichever of them
runs it; in a job that has no session, that does nothing:

    from worker.integrations import log, progress

    progress(23, 47, message="Sending")
    log("sent to 23 people")
"""

from __future__ import annotations

from typing import Any, Literal

from worker.integrations.run import Run, current_run

__all__ = ["cancel_requested", "current_run", "log", "progress"]


def progress(value: float | None = None, of: float | None = None, /, **told: Any) -> None:
    """How far the running job is: `progress(45)` per cent, `progress(23, 47)`, or by name
    `percent`, `current`, `total`, `message`. Neither blocks nor raises."""
    if (run := current_run.get()) is not None:
        run.progress(value, of, **told)


def log(text: object, stream: Literal["stdout", "stderr"] = "stdout") -> None:
    """Adds lines to the running job's log. Neither blocks nor raises."""
    if (run := current_run.get()) is not None:
        run.log(text, stream)


def cancel_requested() -> bool:
    """Whether the running job was cancelled in Jobcast: code that looks now and then can stop."""
    run: Run | None = current_run.get()
    return run is not None and run.cancel_requested
