"""Whether an answer fits its question."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec import Raw

from hub.answers import MAX_ANSWER_BYTES, check_answer, scope_of
from hub.errors import BadInput
from hub.jobs import Input


def question(**more: Any) -> Input:
    return Input(**{"id": "q", "kind": "question", "prompt": "?", **more})


CONFIRM = question(kind="confirm", options=["yes", "no"])
NUMBER = question(
    schema=Raw(
        b'{"type":"object","properties":{"n":{"type":"integer","minimum":1}},"required":["n"]}'
    )
)


@pytest.mark.parametrize(
    ("asked", "value"),
    [(CONFIRM, "yes"), (CONFIRM, "no"), (question(), "any text"), (NUMBER, {"n": 3})],
)
def test_what_fits_is_kept_as_json(asked: Input, value: Any) -> None:
    assert msgspec.json.decode(check_answer(asked, value)) == value


@pytest.mark.parametrize(
    ("asked", "value", "pointer"),
    [
        (CONFIRM, "YES", "/value"),
        (CONFIRM, True, "/value"),
        (CONFIRM, ["yes"], "/value"),
        (CONFIRM, None, "/value"),
        (question(), "", "/value"),
        (question(), " \n", "/value"),
        (question(), 3, "/value"),
        (question(), None, "/value"),
        (NUMBER, {"n": 0}, "/value/n"),
        (NUMBER, {"n": "x"}, "/value/n"),
        (NUMBER, {}, "/value/n"),
        (NUMBER, "3", "/value"),
        (question(), "x" * MAX_ANSWER_BYTES, "/value"),
        (question(schema=Raw(b'{"type":"nonsense"}')), "x", "/value"),
        (question(schema=Raw(b'{"$ref":"https://example.com/s.json"}')), "x", "/value"),
    ],
)
def test_what_does_not_fit_is_said(asked: Input, value: Any, pointer: str) -> None:
    with pytest.raises(BadInput) as caught:
        check_answer(asked, value)
    assert [where for where, _ in caught.value.errors] == [pointer]


def test_scopes() -> None:
    assert scope_of(CONFIRM) == "approve"
    assert scope_of(question()) == "input"
