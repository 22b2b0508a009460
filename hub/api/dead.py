"""Jobs that failed for good, for operators."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import Response

from hub.api.operation import Operation, answer, caller, read_body, read_query
from hub.dead import MOST, Dead, Purged, RetriedList
from hub.errors import BadInput
from hub.fields import JobId, Limit, TaskName
from hub.pages import JobPage
from hub.services import services_of


class DeadQuery(Struct, kw_only=True, forbid_unknown_fields=True):
    """Which of them."""

    task: TaskName | None = None
    limit: Limit = 50
    cursor: Annotated[str, Meta(max_length=200)] | None = None


class DeadRequest(Struct, kw_only=True, forbid_unknown_fields=True):
    """Which dead jobs are meant: these, or those of a task, or all. One of the three is given."""

    job_ids: Annotated[list[JobId], Meta(min_length=1, max_length=MOST)] | None = None
    task: TaskName | None = None
    all: bool = False


def _dead(request: Request) -> Dead:
    services = services_of(request)
    return Dead(services.store, services.scripts, services.enqueuer)


async def _list(request: Request) -> Response:
    caller(request).require("admin")
    query: DeadQuery = read_query(request, DeadQuery)
    return answer(await _dead(request).page(query.task, query.limit, query.cursor))


async def _meant(request: Request) -> DeadRequest:
    asked: DeadRequest = await read_body(request, DeadRequest)
    if (asked.job_ids is not None) + (asked.task is not None) + asked.all != 1:
        raise BadInput([("", "must have one of job_ids, task and all")])
    return asked


async def _retry(request: Request) -> Response:
    principal = caller(request)
    principal.require("admin")
    asked = await _meant(request)
    done = await _dead(request).retry(asked.job_ids, asked.task, principal.credential)
    return answer(done)


async def _purge(request: Request) -> Response:
    caller(request).require("admin")
    asked = await _meant(request)
    return answer(await _dead(request).purge(asked.job_ids, asked.task))


_ERRORS: Final = (400, 413, 415, 422)

OPERATIONS: Final = (
    Operation(
        method="GET",
        path="/dead",
        endpoint=_list,
        name="listDeadJobs",
        tag="operators",
        summary="Jobs that failed for good and were not retried, the last one first (admin).",
        query=DeadQuery,
        answers={200: JobPage},
        errors=(422,),
    ),
    Operation(
        method="POST",
        path="/dead/retry",
        endpoint=_retry,
        name="retryDeadJobs",
        tag="operators",
        summary="New jobs that do what dead ones did, at most 100 in a call (admin).",
        body=DeadRequest,
        answers={200: RetriedList},
        errors=_ERRORS,
    ),
    Operation(
        method="POST",
        path="/dead/purge",
        endpoint=_purge,
        name="purgeDeadJobs",
        tag="operators",
        summary="Deletes dead jobs and their logs, at most 100 in a call (admin).",
        body=DeadRequest,
        answers={200: Purged},
        errors=_ERRORS,
    ),
)
