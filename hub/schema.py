"""JSON Schema checks whose errors a person can act on. No I/O: a `$ref` to elsewhere is an error.

Compiled validators are cached by the schema's bytes, so that a new announcement of a task is a
new validator.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

import jsonschema_rs
import msgspec

#: More are not told: whoever gets so much wrong does not read further.
MAX_ERRORS: Final = 32
_VALIDATORS: Final = 256


class BadSchema(Exception):
    """The schema itself cannot be used; `str()` says why."""


def check(schema: bytes, instance: Any, pointer: str = "") -> list[tuple[str, str]]:
    """What is wrong with `instance`, by JSON pointers that start with `pointer`.

    Raises BadSchema."""
    validator = _validator(schema)
    try:
        errors: list[tuple[str, str]] = []
        for error in validator.iter_errors(instance):
            errors += _read(error, pointer)
            if len(errors) >= MAX_ERRORS:
                break
    except ValueError as error:
        # jsonschema-rs walks 255 levels.
        return [(pointer, f"cannot be checked: {error}")]
    return errors[:MAX_ERRORS]


@lru_cache(maxsize=_VALIDATORS)
def _validator(schema: bytes) -> jsonschema_rs.Validator:
    try:
        return jsonschema_rs.validator_for(msgspec.json.decode(schema), offline=True)
    except (ValueError, msgspec.DecodeError, jsonschema_rs.ReferencingError) as error:
        raise BadSchema(str(error)) from None


def _read(error: jsonschema_rs.ValidationError, pointer: str) -> Iterator[tuple[str, str]]:
    at = pointer + "".join(f"/{_escape(str(step))}" for step in error.instance_path)
    kind = error.kind
    if isinstance(kind, jsonschema_rs.ValidationErrorKind.Required):
        yield f"{at}/{_escape(kind.property)}", "is required"
    elif isinstance(kind, jsonschema_rs.ValidationErrorKind.AdditionalProperties):
        for name in kind.unexpected:
            yield f"{at}/{_escape(name)}", "is not known here"
    else:
        yield at, error.message


def _escape(step: str) -> str:
    return step.replace("~", "~0").replace("/", "~1")
