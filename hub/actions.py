"""What people do to jobs, whichever door they come through: rights first, then the transition."""

from __future__ import annotations

from typing import Any

import msgspec

from hub.answers import check_answer, scope_of
from hub.auth import Principal
from hub.errors import Conflict, NotFound, Refused
from hub.jobs import AGENT_QUEUE, JOB_ID, Job
from hub.store import Store
from hub.transitions import Transitions


async def visible_job(store: Store, principal: Principal, job_id: str, scope: str = "read") -> Job:
    """A job, whole, that the caller may touch. One of a session that it does not cover is unknown
    to it, as are the agent's own jobs to all but admins.

    Raises NotFound; Refused where the session is its own but the scope is missing."""
    job = await store.job(job_id) if JOB_ID.fullmatch(job_id) else None
    if (
        job is None
        or not principal.covers(job.session_id)
        or (job.queue == AGENT_QUEUE and not principal.is_admin)
    ):
        raise NotFound(f"There is no job {job_id[:64]}.")
    if scope:
        principal.require(scope)
    return job


async def cancel(store: Store, transitions: Transitions, principal: Principal, job_id: str) -> str:
    """Asks for a job's end; again is once. Returns `cancelled` or `cancelling`. Raises as
    `visible_job`, and Conflict when it had completed or failed."""
    await visible_job(store, principal, job_id, "cancel")
    return await transitions.cancel(job_id)


async def answer(
    store: Store,
    transitions: Transitions,
    principal: Principal,
    job_id: str,
    input_id: str,
    value: Any,
) -> str:
    """Answers a job's question; again is once. Returns the job's status.

    Raises as `visible_job`, BadInput at /value, and Conflict when another question is open, none
    is, or it was answered otherwise."""
    job = await visible_job(store, principal, job_id, "")
    question = job.input
    if question is not None and question.id == input_id:
        principal.require(scope_of(question))
        return await transitions.answer(job_id, input_id, check_answer(question, value))
    if not (principal.has("input") or principal.has("approve")):
        raise Refused("Your token lacks the scope input.")
    # Not left to the script: a question that opens just now would be answered without its checks.
    before = (await transitions.memo(job_id)).get(f"answer:{input_id}")
    if before is None:
        now = f"it asks {question.id!r}" if question else "it asks nothing now"
        raise Conflict(f"The job does not ask {input_id!r}: {now}.")
    if before != msgspec.json.encode(value):
        raise Conflict(f"The question was answered already, with {before.decode()}.")
    return job.status
