"""Errors as RFC 9457 problems."""

from __future__ import annotations

import msgspec
import pytest
from redis import exceptions as redis_errors
from starlette.exceptions import HTTPException

from hub import errors, problems

KINDS: list[tuple[Exception, int]] = [
    (problems.Malformed("x"), 400),
    (errors.Unauthenticated("x"), 401),
    (errors.Refused("x"), 403),
    (errors.NotFound("x"), 404),
    (errors.Conflict("x"), 409),
    (errors.StaleToken("x"), 409),
    (problems.TooLarge("x"), 413),
    (problems.NotJson("x"), 415),
    (errors.BadInput([("/a", "x")]), 422),
    (errors.TooMany("x", 0.2), 429),
    (errors.Busy("x", 3.2), 503),
    (redis_errors.ConnectionError("secret"), 503),
    (redis_errors.TimeoutError("secret"), 503),
    (redis_errors.OutOfMemoryError("secret"), 503),
    (errors.SettingsError("secret"), 500),
    (ValueError("secret"), 500),
    (redis_errors.ResponseError("secret"), 500),
]


@pytest.mark.parametrize(("error", "status"), KINDS)
def test_each_kind_has_its_status_and_tells_no_internals(error: Exception, status: int) -> None:
    response = problems.response(error)
    assert response.status_code == status
    assert response.media_type == "application/problem+json"
    body = msgspec.json.decode(bytes(response.body))
    assert body["type"] == "about:blank"
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    assert b"secret" not in bytes(response.body)


def test_every_error_on_purpose_has_a_status_of_its_own() -> None:
    named = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    kinds = [kind for kind in named if kind.__module__ == errors.__name__]
    kinds.remove(errors.SettingsError)
    kinds.remove(errors.JobcastError)
    for kind in kinds:
        assert [status for base, status in problems._STATUS if issubclass(kind, base)], kind


def test_fields_are_listed() -> None:
    found, _ = problems.problem_of(errors.BadInput([("/a", "must be b"), ("", "c")]))
    assert [(e.pointer, e.detail) for e in found.errors] == [("/a", "must be b"), ("", "c")]


def test_headers_that_go_with_it() -> None:
    assert problems.problem_of(errors.Unauthenticated("x"))[1] == {"WWW-Authenticate": "Bearer"}
    assert problems.problem_of(errors.TooMany("x", 0.2))[1] == {"Retry-After": "1"}
    assert problems.problem_of(errors.Busy("x", 3.2))[1] == {"Retry-After": "4"}
    assert problems.problem_of(problems.TooLarge("x"))[1] == {"Connection": "close"}
    found, headers = problems.problem_of(HTTPException(405, headers={"Allow": "GET"}))
    assert (found.status, headers) == (405, {"Allow": "GET"})
