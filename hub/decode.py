"""JSON and query strings into structs, with every wrong field named. No I/O.

msgspec stops at the first field that does not fit; a person who corrects a request wants them
all, so a request that fails is looked at once more, field by field.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeVar

import msgspec
from msgspec import NODEFAULT, Raw, Struct
from msgspec.structs import FieldInfo

from hub.errors import BadInput

T = TypeVar("T", bound=Struct)

MAX_ERRORS: Final = 32
_AT: Final = re.compile(r"(?P<text>.*?)(?: - at `(?P<path>.*)`)?", re.DOTALL)
_STEP: Final = re.compile(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]")
_REGEX: Final = re.compile(r"expected `str` matching regex (?P<regex>.*)", re.DOTALL)


class NotJsonText(Exception):
    """The bytes are no JSON text; `str()` says where."""


def decode(raw: bytes, kind: type[T], words: Mapping[str, str] | None = None) -> T:
    """A struct from JSON. `words` says what a regular expression means.

    Raises NotJsonText when it is not JSON, BadInput with a pointer for each field that is not
    as its struct says."""
    try:
        # msgspec lets bytes that are not UTF-8 through where a field is Raw.
        raw.decode()
        try:
            return msgspec.json.decode(raw, type=kind)
        except msgspec.ValidationError as first:
            # It stopped there: the rest may still be no JSON.
            errors = _check_again(raw, kind) or [_split(first)]
    except UnicodeDecodeError as error:
        raise NotJsonText(f"it is not UTF-8 (byte {error.start})") from None
    except msgspec.ValidationError as error:
        errors = [_split(error)]
    except msgspec.DecodeError as error:
        raise NotJsonText(str(error)) from None
    except RecursionError:
        raise NotJsonText("it is nested too deeply") from None
    raise BadInput(_worded(errors, words or {}))


def decode_query(pairs: Sequence[tuple[str, str]], kind: type[T], words: Mapping[str, str]) -> T:
    """A struct from a query string; numbers and booleans are read from their text. Raises
    BadInput naming every parameter that is unknown, repeated or wrong."""
    values: dict[str, str] = {}
    errors: list[tuple[str, str]] = []
    for name, value in pairs:
        if name in values:
            errors.append((_pointer(name), "is given twice"))
        values[name] = value
    errors += _check_fields(values, kind, partial(msgspec.convert, strict=False))
    if errors:
        raise BadInput(_worded(errors, words))
    return msgspec.convert(values, kind, strict=False)


def _check_again(raw: bytes, kind: type[Struct]) -> list[tuple[str, str]]:
    if not isinstance(msgspec.json.decode(raw), dict):
        return []
    members = msgspec.json.decode(raw, type=dict[str, Raw])
    return _check_fields(members, kind, lambda value, type_: msgspec.json.decode(value, type=type_))


def _check_fields(
    values: Mapping[str, Any], kind: type[Struct], read: Callable[[Any, Any], object]
) -> list[tuple[str, str]]:
    errors: list[tuple[str, str]] = []
    fields: dict[str, FieldInfo] = {f.encode_name: f for f in msgspec.structs.fields(kind)}
    for name, field in fields.items():
        if name in values:
            try:
                read(values[name], field.type)
            except msgspec.ValidationError as error:
                pointer, text = _split(error)
                errors.append((_pointer(name) + pointer, text))
        elif field.default is NODEFAULT and field.default_factory is NODEFAULT:
            errors.append((_pointer(name), "is required"))
    known = ", ".join(sorted(fields))
    errors += [
        (_pointer(name), f"is not known here; there are: {known}")
        for name in values
        if name not in fields
    ]
    return errors[:MAX_ERRORS]


def _split(error: msgspec.ValidationError) -> tuple[str, str]:
    """msgspec's message as pointer and text."""
    match = _AT.fullmatch(str(error))
    text, path = (match["text"], match["path"]) if match else (str(error), None)
    pointer = "".join(_pointer(name or index) for name, index in _STEP.findall(path or ""))
    return pointer.replace("/...", ""), text[:1].lower() + text[1:]


def _worded(errors: Sequence[tuple[str, str]], words: Mapping[str, str]) -> list[tuple[str, str]]:
    # msgspec shows a regular expression as Python would.
    meanings = {repr(regex): meaning for regex, meaning in words.items()}
    out = []
    for pointer, text in errors:
        match = _REGEX.fullmatch(text)
        meaning = meanings.get(match["regex"]) if match else None
        out.append((pointer, f"must be {meaning}" if meaning else text))
    return out


def _pointer(step: str) -> str:
    return "/" + step.replace("~", "~0").replace("/", "~1")
