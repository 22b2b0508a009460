"""Every error as `application/problem+json` (RFC 9457).

`type` is always `about:blank`: the status says what kind of problem it is, `detail` what to do,
and `errors` which fields of the request are wrong, by JSON pointer (RFC 6901; "" is the whole
body; query parameters are written as fields of an object).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

import msgspec
from msgspec import Struct
from redis import exceptions as redis_errors
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from hub.errors import (
    BadInput,
    Busy,
    Conflict,
    JobcastError,
    NotFound,
    Refused,
    StaleToken,
    TooMany,
    Unauthenticated,
)

log = logging.getLogger("jobcast.http")

MEDIA_TYPE: Final = "application/problem+json"
#: What Redis says of itself that passes by waiting.
_PASSING: Final = (
    redis_errors.ConnectionError,
    redis_errors.TimeoutError,
    redis_errors.OutOfMemoryError,
    redis_errors.ReadOnlyError,
)
REDIS_RETRY_AFTER: Final = 2.0

_DETAILS: Final = {
    404: "There is nothing at this address.",
    405: "This address does not answer that method.",
}


class FieldError(Struct):
    """What is wrong with one field, and what would be right."""

    pointer: str
    detail: str


class Problem(Struct, kw_only=True, omit_defaults=True):
    """An error as RFC 9457 has it."""

    type: str
    title: str
    status: int
    detail: str | None = None
    errors: list[FieldError] = []


class TooLarge(JobcastError):
    """The request's body is larger than it may be."""


class NotJson(JobcastError):
    """The request's body is not sent as JSON."""


class Malformed(JobcastError):
    """The request's body, or what frames it, cannot be read."""


#: First fit wins, so a subclass stands before its base.
_STATUS: Final[tuple[tuple[type[JobcastError], int], ...]] = (
    (Malformed, 400),
    (Unauthenticated, 401),
    (Refused, 403),
    (NotFound, 404),
    (Conflict, 409),
    (StaleToken, 409),
    (TooLarge, 413),
    (NotJson, 415),
    (BadInput, 422),
    (TooMany, 429),
    (Busy, 503),
)


def status_of(error: JobcastError) -> int:
    """The HTTP status that says what kind of error it is."""
    for kind, status in _STATUS:
        if isinstance(error, kind):
            return status
    return 500


def problem(status: int, detail: str | None = None) -> Problem:
    """A problem without field errors."""
    return Problem(
        type="about:blank", title=HTTPStatus(status).phrase, status=status, detail=detail
    )


def problem_of(error: Exception) -> tuple[Problem, dict[str, str]]:
    """The problem of an error and the headers that go with it. Of an error that nobody foresaw
    it tells nothing."""
    if isinstance(error, JobcastError) and (status := status_of(error)) != 500:
        return _of_ours(error, status)
    if isinstance(error, HTTPException):
        detail = _DETAILS.get(error.status_code) or error.detail
        headers = dict(error.headers or {})
        if error.status_code == 408:
            headers["Connection"] = "close"
        return problem(error.status_code, detail), headers
    if isinstance(error, _PASSING):
        return (
            problem(503, "Redis is away or full. Nothing was lost; try again."),
            _retry_after(REDIS_RETRY_AFTER),
        )
    return problem(500, "Something went wrong inside the hub; its log says what."), {}


def _of_ours(error: JobcastError, status: int) -> tuple[Problem, dict[str, str]]:
    found = problem(status, str(error))
    headers: dict[str, str] = {}
    if isinstance(error, BadInput):
        found.errors = [FieldError(pointer, detail) for pointer, detail in error.errors]
        found.detail = "The request does not fit: see errors."
    elif isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    elif isinstance(error, Busy):
        headers = _retry_after(error.retry_after)
    elif isinstance(error, TooLarge):
        # What is left of the body is not read, so the connection is of no further use.
        headers["Connection"] = "close"
    return found, headers


def _retry_after(seconds: float) -> dict[str, str]:
    return {"Retry-After": str(max(1, math.ceil(seconds)))}


def response(error: Exception, headers: Mapping[str, str] | None = None) -> Response:
    """The HTTP response that tells of an error."""
    found, more = problem_of(error)
    return Response(
        msgspec.json.encode(found),
        found.status,
        {**more, **(headers or {}), "Cache-Control": "no-store"},
        MEDIA_TYPE,
    )


async def handle(_: Request, error: Exception) -> Response:
    """Starlette's handler for every exception."""
    if isinstance(error, ClientDisconnect):
        return response(Malformed("The request's body ended early."))
    if isinstance(error, _PASSING):
        log.warning("Redis could not answer: %s", error)
    return response(error)
