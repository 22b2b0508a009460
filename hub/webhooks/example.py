"""Events that never happened, for endpoints to be tested with. Pure but for the clock."""

from __future__ import annotations

import time
from typing import Any, Final

import msgspec

from hub.jobs import Input, Job, JobError, Progress, iso, new_job_id
from hub.states import STATUSES, TERMINAL, Status

#: What is told to API keys and admins alone, or only of what was left out.
_NOT_IN_EVENTS: Final = (
    *("webhook_url", "params_truncated", "result_truncated", "metadata_truncated"),
)


def example(session_id: str, kind: str) -> bytes:
    """The `data` of an event `job.<status>`: a job as whole as in a real one, whose metadata is
    `{"test": true}`. Raises StopIteration for another kind."""
    status: Status = next(each for each in STATUSES if f"job.{each}" == kind)
    at = iso(time.time_ns() // 1_000_000)
    job = Job(
        id=new_job_id(session_id),
        session_id=session_id,
        task="example",
        title="An example",
        status=status,
        rev=5,
        params={"selector": "tests"},
        queue="default",
        progress=Progress(percent=50.0, current=1, total=2),
        log_lines=2,
        metadata={"test": True},
        created_at=at,
        started_at=None if status == "pending" else at,
        finished_at=at if status in TERMINAL else None,
        updated_at=at,
    )
    if status == "completed":
        job.result = {"passed": 2, "failed": 0}
    elif status == "failed":
        job.error = JobError("error", "An example of an error", "ValueError")
    elif status == "input_required":
        job.input = Input("confirm", "confirm", "Go on?", ["yes", "no"], None, at)
    fields: dict[str, Any] = msgspec.structs.asdict(job)
    return msgspec.json.encode({n: v for n, v in fields.items() if n not in _NOT_IN_EVENTS})
