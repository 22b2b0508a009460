"""What a caller may see of a job."""

from __future__ import annotations

from typing import Any

import msgspec

from hub.auth import Principal
from hub.jobs import Job


def shown(job: Job, principal: Principal) -> Job:
    """The job as its caller may see it."""
    if principal.is_admin:
        return job
    changes: dict[str, Any] = {"webhook_url": None}
    if job.error is not None and job.error.traceback is not None:
        changes["error"] = msgspec.structs.replace(job.error, traceback=None)
    return msgspec.structs.replace(job, **changes)
