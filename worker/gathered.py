"""What is said of the jobs that a job waits for. No I/O."""

from __future__ import annotations

from typing import Any

from msgspec import Raw, Struct

from hub.jobs import JobError


class ChildCall(Struct):
    """A child to be queued: a task's name, its params, and what else `POST /jobs` takes. With a
    `job_id` it is one that was queued before, to be waited for."""

    task: str = ""
    params: Raw = Raw(b"{}")
    options: dict[str, Any] = {}
    job_id: str | None = None


class ChildEnd(Struct):
    """How a child ended. `status` is `gone` when it is not there any more."""

    job_id: str
    task: str
    status: str
    result: Raw = Raw(b"null")
    error: JobError | None = None


class ChildFailed(Exception):
    """A job that was waited for did not complete: `job_id`, `task`, `status`, and `code` and
    `error` (its message) where it failed."""

    def __init__(self, end: ChildEnd) -> None:
        self.job_id = end.job_id
        self.task = end.task
        self.status = end.status
        self.code = end.error.code if end.error else None
        self.error = end.error.message if end.error else None
        why = f": {self.error}" if self.error else ""
        super().__init__(f"job {end.job_id} ({end.task}) is {end.status}{why}")
