"""The event streams as operations; `hub.sse` serves them."""

from __future__ import annotations

from typing import Annotated, Any, Final

from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import Response

from hub import sse
from hub.api.operation import Endpoint, Operation
from hub.fields import JobId, SessionId


class StreamQuery(Struct, kw_only=True):
    """Where to resume, and the credential of callers that can send no headers."""

    after: Annotated[str, Meta(description="A cursor; Last-Event-ID is asked first.")] | None = None
    token: Annotated[str, Meta(description="A session token; the header is better.")] | None = None


def _streaming(endpoint: Endpoint) -> Endpoint:
    async def streaming(request: Request) -> Response:
        if request.method == "HEAD":
            # A stream without a body would only hold the connection.
            return Response(media_type="text/event-stream")
        return await endpoint(request)

    return streaming


_COMMON: Final[dict[str, Any]] = {
    "method": "GET",
    "tag": "streams",
    "query": StreamQuery,
    "headers": {"Last-Event-ID": "The cursor to resume after."},
}

OPERATIONS: Final = (
    Operation(
        path="/sessions/{session_id}/events",
        endpoint=_streaming(sse.session_events),
        name="streamSession",
        summary="A session's events as they happen (Server-Sent Events).",
        path_types={"session_id": SessionId},
        answers={200: "text/event-stream"},
        errors=(404,),
        **_COMMON,
    ),
    Operation(
        path="/jobs/{job_id}/stream",
        endpoint=_streaming(sse.job_events),
        name="streamJob",
        summary="A job's events until its terminal one, after which a resume is answered 204.",
        path_types={"job_id": JobId},
        answers={200: "text/event-stream", 204: None},
        errors=(404,),
        **_COMMON,
    ),
)
