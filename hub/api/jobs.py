"""Jobs: queue, look, cancel, retry, answer."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import Response

from hub.actions import answer as answer_question
from hub.actions import cancel as cancel_job
from hub.actions import visible_job
from hub.api.batch import JobList, is_list, queue_list, told
from hub.api.operation import (
    Operation,
    answer,
    caller,
    decode_body,
    no_body,
    read_body,
    read_json,
    read_query,
    seen_at,
)
from hub.api.shown import shown
from hub.api.waiting import wait_for
from hub.auth import Principal
from hub.errors import BadInput, Refused
from hub.fields import JobId, Limit, SessionId, TaskName
from hub.jobs import Job
from hub.pages import JobPage
from hub.queueing import Enqueued
from hub.requests import InputRequest, JobRequest, Nothing
from hub.responses import Answered, Queued, QueuedList
from hub.services import Services, services_of
from hub.states import STATUSES

MAX_WAIT: Final = 60
IDEMPOTENCY_KEY_CHARS: Final = 255


class JobQuery(Struct, kw_only=True, forbid_unknown_fields=True):
    """How long to wait, in seconds, until the job is terminal or asks a person."""

    wait: Annotated[float, Meta(ge=0, le=MAX_WAIT)] = 0


class JobsQuery(Struct, kw_only=True, forbid_unknown_fields=True):
    """Which jobs. `status` is one or more, comma-separated."""

    session_id: SessionId | None = None
    status: str | None = None
    task: TaskName | None = None
    limit: Limit = 50
    cursor: Annotated[str, Meta(max_length=200)] | None = None


async def _create(request: Request) -> Response:
    services, principal = services_of(request), caller(request)
    raw = await read_json(request)
    if is_list(raw):
        done = await queue_list(services, principal, raw, _idempotency_key(request))
        return answer(told(done, principal), 207)
    return await _create_one(request, services, principal, raw)


async def _create_one(
    request: Request, services: Services, principal: Principal, raw: bytes
) -> Response:
    services.enqueue_limit.require(principal.credential, "jobs queued")
    wanted: JobRequest = decode_body(raw, JobRequest)
    principal.require("enqueue", wanted.session_id)
    done = await services.enqueuer.enqueue(
        wanted,
        credential=principal.credential,
        idempotency_key=_idempotency_key(request),
        may_call_back=principal.is_key,
    )
    return _queued(request, done, principal)


def _idempotency_key(request: Request) -> str | None:
    key = request.headers.get("idempotency-key")
    if key is not None and not (1 <= len(key) <= IDEMPOTENCY_KEY_CHARS):
        raise BadInput(
            [("", f"the header Idempotency-Key must have 1 to {IDEMPOTENCY_KEY_CHARS} characters")]
        )
    return key


def _queued(request: Request, done: Enqueued, principal: Principal) -> Response:
    job = done.job
    body = Queued(job_id=job.id, status=job.status, job=shown(job, principal), token=done.token)
    location = seen_at(request, f"/jobs/{job.id}")
    return answer(body, 202 if done.created else 200, {"Location": location})


async def _get(request: Request) -> Response:
    services, principal = services_of(request), caller(request)
    query: JobQuery = read_query(request, JobQuery)
    job = await visible_job(services.store, principal, request.path_params["job_id"])
    if query.wait and not _settled(job):
        job = await wait_for(request, job, _settled, query.wait)
    return answer(shown(job, principal))


def _settled(job: Job) -> bool:
    return job.terminal or job.status == "input_required"


async def _list(request: Request) -> Response:
    services, principal = services_of(request), caller(request)
    query: JobsQuery = read_query(request, JobsQuery)
    if query.session_id is not None:
        principal.require("read", query.session_id)
    elif not principal.is_admin:
        raise Refused("Without session_id, jobs are listed for API keys and the scope admin only.")
    statuses = frozenset((query.status or "").split(",")) - {""}
    if not statuses <= set(STATUSES):
        raise BadInput([("/status", "must be some of: " + ", ".join(STATUSES))])
    page = await services.store.jobs(
        session_id=query.session_id,
        status=statuses,
        task=query.task,
        limit=query.limit,
        cursor=query.cursor,
    )
    return answer(page)


async def _cancel(request: Request) -> Response:
    services, principal = services_of(request), caller(request)
    await no_body(request)
    job_id: str = request.path_params["job_id"]
    await cancel_job(services.store, services.transitions, principal, job_id)
    return await _now(services, principal, job_id, 202)


async def _now(services: Services, principal: Principal, job_id: str, status: int) -> Response:
    job = await visible_job(services.store, principal, job_id, "")
    return answer(shown(job, principal), status)


async def _retry(request: Request) -> Response:
    services, principal = services_of(request), caller(request)
    services.enqueue_limit.require(principal.credential, "jobs queued")
    await no_body(request)
    job = await visible_job(services.store, principal, request.path_params["job_id"], "enqueue")
    done = await services.enqueuer.retry(job, credential=principal.credential)
    return _queued(request, done, principal)


async def _input(request: Request) -> Response:
    services, principal = services_of(request), caller(request)
    given: InputRequest = await read_body(request, InputRequest)
    status = await answer_question(
        services.store,
        services.transitions,
        principal,
        request.path_params["job_id"],
        given.input_id,
        given.value,
    )
    return answer(Answered(status))


_ONE: Final = {"job_id": JobId}

OPERATIONS: Final = (
    Operation(
        method="POST",
        path="/jobs",
        endpoint=_create,
        name="createJob",
        tag="jobs",
        summary="Queues a job; 200 is one that is there, by its live key or its Idempotency-Key."
        " A list queues many, and is answered 207.",
        body=JobRequest | JobList,
        answers={202: Queued, 200: Queued, 207: QueuedList},
        errors=(400, 409, 413, 415, 422, 429),
        headers={"Idempotency-Key": "The same key, within a day, is the same job."},
    ),
    Operation(
        method="GET",
        path="/jobs",
        endpoint=_list,
        name="listJobs",
        tag="jobs",
        summary="Jobs, newest first.",
        query=JobsQuery,
        answers={200: JobPage},
        errors=(422,),
    ),
    Operation(
        method="GET",
        path="/jobs/{job_id}",
        endpoint=_get,
        name="getJob",
        tag="jobs",
        summary="A job, whole. With wait, answered once it is terminal or asks a person.",
        query=JobQuery,
        path_types=_ONE,
        answers={200: Job},
        errors=(404, 422),
    ),
    Operation(
        method="POST",
        path="/jobs/{job_id}/cancel",
        endpoint=_cancel,
        name="cancelJob",
        tag="jobs",
        summary="Asks for a job's end. Again is once; 409 when it had completed or failed.",
        body=Nothing,
        body_optional=True,
        path_types=_ONE,
        answers={202: Job},
        errors=(400, 404, 409, 413, 415, 422),
    ),
    Operation(
        method="POST",
        path="/jobs/{job_id}/retry",
        endpoint=_retry,
        name="retryJob",
        tag="jobs",
        summary="A new job that does the same. Again is once; 409 while the job is live.",
        body=Nothing,
        body_optional=True,
        path_types=_ONE,
        answers={202: Queued, 200: Queued},
        errors=(400, 404, 409, 413, 415, 422, 429),
    ),
    Operation(
        method="POST",
        path="/jobs/{job_id}/input",
        endpoint=_input,
        name="answerJob",
        tag="jobs",
        summary="Answers a job's question. A confirm needs the scope approve.",
        body=InputRequest,
        path_types=_ONE,
        answers={200: Answered},
        errors=(400, 404, 409, 413, 415, 422),
    ),
)
