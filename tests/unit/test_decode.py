"""Requests into structs: every wrong field is named, by a pointer, in words."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta, Raw, Struct

from hub.decode import NotJsonText, decode, decode_query
from hub.errors import BadInput
from hub.fields import WORDS, SessionId, is_cursor
from hub.requests import ForeignEvents, JobRequest


class Inner(Struct, forbid_unknown_fields=True):
    number: Annotated[int, Meta(ge=1)]


class Outer(Struct, kw_only=True, forbid_unknown_fields=True):
    session_id: SessionId
    inner: Inner | None = None
    items: list[Inner] = []
    raw: Raw = Raw(b"{}")
    flag: bool = False


def errors_of(raw: bytes, kind: type[Any] = Outer) -> dict[str, str]:
    with pytest.raises(BadInput) as caught:
        decode(raw, kind, WORDS)
    return dict(caught.value.errors)


def test_a_request_that_fits() -> None:
    found = decode(b'{"session_id":"s:1","items":[{"number":2}],"raw":{"a":1.10}}', Outer, WORDS)
    assert found.items == [Inner(2)]
    assert bytes(found.raw) == b'{"a":1.10}'


def test_every_wrong_field_is_named_at_once() -> None:
    errors = errors_of(
        b'{"inner":{"number":0},"items":[{"number":1},{"number":"x"}],"flag":1,"nope":1,"a/b~":2}'
    )
    assert list(errors) == [
        "/session_id",
        "/inner/number",
        "/items/1/number",
        "/flag",
        "/nope",
        "/a~1b~0",
    ]
    assert errors["/session_id"] == "is required"
    assert "session_id" in errors["/nope"]


def test_what_a_pattern_means_is_said() -> None:
    for wrong in (b"", b"a b", b"a\\n", b"\\u0000", b"x" * 129):
        errors = errors_of(b'{"session_id":"' + wrong + b'"}')
        assert errors == {"/session_id": "must be 1 to 128 of A-Z a-z 0-9 _ . : -"}


@pytest.mark.parametrize("raw", [b"[]", b"1", b"null", b'"x"'])
def test_a_body_that_is_no_object(raw: bytes) -> None:
    assert "" in errors_of(raw)


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"{]", b'{"a":tru}', b'{"session_id":"\xff"}', b'{"raw":"\xff"}', b"\x00"]
)
def test_what_is_no_json(raw: bytes) -> None:
    with pytest.raises(NotJsonText):
        decode(raw, Outer, WORDS)


def test_nesting_is_bounded() -> None:
    deep = b"[" * 100_000 + b"]" * 100_000
    with pytest.raises(NotJsonText, match="nested"):
        decode(b'{"session_id":"s","raw":' + deep + b"}", Outer, WORDS)


def test_events_of_somebody_elses_queue() -> None:
    errors = errors_of(
        b'{"token":"t","events":[{"type":"progress","percent":"half"}]}', ForeignEvents
    )
    assert list(errors) == ["/events/0/percent"]
    assert list(errors_of(b'{"token":"t","events":[{"type":"gone"}]}', ForeignEvents)) == [
        "/events/0/type"
    ]
    assert list(errors_of(b'{"token":"t","events":[{}]}', ForeignEvents)) == ["/events/0"]


def test_run_at_needs_an_offset() -> None:
    body = b'{"task":"t","session_id":"s","run_at":"2026-01-01T00:00:00"}'
    assert list(errors_of(body, JobRequest)) == ["/run_at"]


class Query(Struct, kw_only=True, forbid_unknown_fields=True):
    limit: Annotated[int, Meta(ge=1, le=9)] = 5
    wait: float = 0.0
    session_id: SessionId | None = None


def test_queries() -> None:
    found = decode_query([("limit", "3"), ("wait", "1.5"), ("session_id", "12")], Query, WORDS)
    assert found == Query(limit=3, wait=1.5, session_id="12")


def test_wrong_queries() -> None:
    with pytest.raises(BadInput) as caught:
        decode_query(
            [("limit", "x"), ("wait", ""), ("session_id", "a b"), ("what", "1"), ("limit", "2")],
            Query,
            WORDS,
        )
    assert {pointer for pointer, _ in caught.value.errors} == {
        "/limit",
        "/wait",
        "/session_id",
        "/what",
    }


@given(st.binary(max_size=200))
def test_any_bytes_end_in_one_of_the_three_ways(raw: bytes) -> None:
    with suppress(BadInput, NotJsonText):
        assert isinstance(decode(raw, JobRequest, WORDS), JobRequest)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.sampled_from(JobRequest.__struct_fields__) | st.text(max_size=5), json_values, max_size=6
    )
)
def test_any_object_is_a_request_or_has_errors_with_pointers(value: dict[str, Any]) -> None:
    errors: list[tuple[str, str]] = [("", "")]
    try:
        decode(json.dumps(value).encode(), JobRequest, WORDS)
    except BadInput as error:
        errors = error.errors
    assert errors
    assert all(pointer == "" or pointer.startswith("/") for pointer, _ in errors)


def test_cursors() -> None:
    assert is_cursor("17-83920174")
    assert is_cursor("0-0")
    for wrong in ("", "17", "a-1", "-1-1", "1-1-1x"):
        assert not is_cursor(wrong)
