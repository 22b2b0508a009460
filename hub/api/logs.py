"""A job's log, as JSON or as plain text."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Final

from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from hub.actions import visible_job
from hub.api.operation import Operation, answer, caller, read_query
from hub.fields import JobId
from hub.pages import LogPage
from hub.services import services_of
from hub.store import Store

_PAGE: Final = 500
_DEFAULT_LIMIT: Final = 1_000
#: More lines than these, of up to 8 KiB each, are not put into one JSON document.
_MOST_JSON: Final = 2_000


class LogQuery(Struct, kw_only=True, forbid_unknown_fields=True):
    """Lines after the line `after`. Plain text without `limit` is all of them; JSON is 2,000
    at most, with `more` where there are more."""

    after: Annotated[int, Meta(ge=0, le=2**53)] = 0
    limit: Annotated[int, Meta(ge=1, le=10_000)] | None = None


async def _logs(request: Request) -> Response:
    services, principal = services_of(request), caller(request)
    query: LogQuery = read_query(request, LogQuery)
    job = await visible_job(services.store, principal, request.path_params["job_id"])
    if _wants_text(request.headers.get("accept", "")):
        return StreamingResponse(
            _text(services.store, job.id, query.after, query.limit),
            media_type="text/plain",
            headers={"Cache-Control": "no-store", "Vary": "Accept"},
        )
    limit = min(query.limit or _DEFAULT_LIMIT, _MOST_JSON)
    page = await services.store.logs(job.id, query.after, limit)
    return answer(page, headers={"Vary": "Accept"})


def _wants_text(accept: str) -> bool:
    """Whether plain text is asked for, and JSON is not."""
    kinds = [part.partition(";")[0].strip().lower() for part in accept.split(",")]
    return "text/plain" in kinds and "application/json" not in kinds


async def _text(store: Store, job_id: str, after: int, limit: int | None) -> AsyncIterator[bytes]:
    left = limit
    while left is None or left > 0:
        page = await store.logs(job_id, after, _PAGE if left is None else min(_PAGE, left))
        if page.lines:
            yield "".join(f"{line.text}\n" for line in page.lines).encode()
            after = page.lines[-1].line
            left = None if left is None else left - len(page.lines)
        if not page.more:
            return


OPERATIONS: Final = (
    Operation(
        method="GET",
        path="/jobs/{job_id}/logs",
        endpoint=_logs,
        name="getLogs",
        tag="jobs",
        summary="Lines of a job's log. With Accept: text/plain, its text alone.",
        query=LogQuery,
        path_types={"job_id": JobId},
        answers={200: (LogPage, "text/plain")},
        errors=(404, 422),
    ),
)
