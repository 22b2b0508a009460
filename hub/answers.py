"""Whether an answer fits the question that it is given to. No I/O."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from hub.errors import BadInput
from hub.jobs import Input
from hub.schema import BadSchema, check

MAX_ANSWER_BYTES: Final = 16 * 1024


def check_answer(question: Input, value: Any) -> bytes:
    """The answer as the JSON that is kept. Where the question has options it is one of them,
    where it has a schema it fits that, and else it is a string that is not blank.

    Raises BadInput at /value, saying what would fit."""
    raw = msgspec.json.encode(value)
    if len(raw) > MAX_ANSWER_BYTES:
        raise BadInput([("/value", f"must have at most {MAX_ANSWER_BYTES} bytes as JSON")])
    if question.options:
        if not isinstance(value, str) or value not in question.options:
            raise BadInput([("/value", "must be one of: " + ", ".join(question.options))])
    elif question.schema is not None:
        try:
            errors = check(msgspec.json.encode(question.schema), value, "/value")
        except BadSchema as error:
            raise BadInput([("/value", f"the question's schema is unusable: {error}")]) from None
        if errors:
            raise BadInput(errors)
    elif not isinstance(value, str) or not value.strip():
        raise BadInput([("/value", "must be a string that is not blank")])
    return raw


def scope_of(question: Input) -> str:
    """The scope that answering it needs."""
    return "approve" if question.kind == "confirm" else "input"
