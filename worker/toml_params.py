"""Params of a declared command: their types, and what may never reach a command line. Pure but for
the symbolic links of a path."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import GenericAlias
from typing import Annotated, Any, Literal

import msgspec

from worker.tasks import TaskError

__all__ = ["RESERVED", "Param", "ParamTable"]

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
RESERVED = "context"

_TYPES: Mapping[str, type] = {
    "string": str,
    "integer": int,
    "number": float,
    "boolean": bool,
    "path": str,
    "enum": str,
}


class ParamTable(msgspec.Struct, forbid_unknown_fields=True):
    """``params.NAME`` in a toml file, as written.

    ``type``         string, integer, number, boolean, path, enum, or "list of" one of them
    ``default``      makes the param optional; a boolean's is false unless said
    ``optional``     may be absent, without a default
    ``enum``         the values allowed
    ``pattern``      regular expression that a string has to match (anchor it with ^ and $)
    ``min`` ``max``  of a number; of the length of a string or a list
    ``flag``         what stands before the value on the command line; of a boolean, what stands for
                     true (false adds nothing)
    ``allow_dash``   values may start with "-"
    ``until``        a path ends before this text: "::" for ``tests/test_api.py::test_get``
    """

    type: str = "string"
    title: str = ""
    description: str = ""
    default: Any = msgspec.UNSET
    optional: bool = False
    enum: list[str | int] | None = None
    pattern: str | None = None
    min: float | None = None
    max: float | None = None
    flag: str | None = None
    allow_dash: bool = False
    until: str | None = None


class Param:
    """One declared param. ``hint`` and ``default`` are for ParamsType; ``check`` looks closer.

    Raises TaskError, its message starting with the key that is wrong.
    """

    def __init__(self, name: str, table: ParamTable, root: Path) -> None:
        self.name = name
        self.flag = table.flag
        self.kind = table.type.removeprefix("list of ")
        self.is_list = table.type != self.kind
        self._root = root
        self._until = table.until
        self._dash = table.allow_dash
        if not NAME.fullmatch(name) or name == RESERVED:
            raise TaskError(f"params.{name}: a name is letters, digits and _, and not {RESERVED!r}")
        if self.kind not in _TYPES or (self.is_list and self.kind == "boolean"):
            raise TaskError(
                f"params.{name}.type: {table.type!r}: one of {', '.join(_TYPES)}, or a list of them"
            )
        if self.kind == "enum" and not table.enum:
            raise TaskError(f"params.{name}.enum: what values may it have?")
        if table.until is not None and (self.kind != "path" or not table.until):
            raise TaskError(f"params.{name}.until: only a path has an end to look for")
        if self.kind in ("integer", "number") and table.min is not None and table.min < 0:
            self._dash = True  # whoever allows a negative number has thought of its dash
        try:
            self.hint = self._hint(table)
            self.default = self._default(table)
        except (TypeError, ValueError, re.error) as error:
            raise TaskError(f"params.{name}: {error}") from error

    @property
    def optional(self) -> bool:
        return self.default is not msgspec.NODEFAULT

    def check(self, value: Any) -> list[tuple[str, str]]:
        """(JSON pointer, message) of what must not reach the command, beyond what types can say."""
        if not self.is_list:
            return [(f"/{self.name}", wrong)] if (wrong := self._wrong(value)) else []
        return [
            (f"/{self.name}/{number}", wrong)
            for number, item in enumerate(value)
            if (wrong := self._wrong(item))
        ]

    def _wrong(self, value: Any) -> str | None:
        text = as_text(value)
        if "\0" in text:
            return "must not hold a NUL character"
        if text.startswith("-") and not self._dash:
            return "must not start with '-'"
        if self.kind == "path":
            return self._outside(text)
        return None

    def _outside(self, text: str) -> str | None:
        path = text.split(self._until, 1)[0] if self._until else text
        try:
            inside = (self._root / path).resolve().is_relative_to(self._root.resolve())
        except (OSError, RuntimeError, ValueError) as error:
            return f"is not a path: {error}"
        return None if inside else "leads out of the task's directory"

    def _hint(self, table: ParamTable) -> Any:
        hint = self._enum(table) if table.enum else self._scalar(table)
        if self.is_list:
            hint = _limited(
                GenericAlias(list, (hint,)), _bounds(table, "min_length", "max_length", whole=True)
            )
        words = {"title": table.title, "description": table.description}
        return _limited(hint, {key: said for key, said in words.items() if said})

    def _enum(self, table: ParamTable) -> Any:
        values = table.enum or []
        if table.pattern is not None or not (self.is_list or (table.min is table.max is None)):
            raise TypeError("an enum needs no pattern, min or max")
        if self.kind in ("boolean", "number"):
            raise TypeError(f"a {self.kind} has no enum")
        if self.kind != "enum":
            for value in values:
                msgspec.convert(value, _TYPES[self.kind])
        return Literal[tuple(values)]

    def _scalar(self, table: ParamTable) -> Any:
        plain = _TYPES[self.kind]
        if plain is not str and table.pattern is not None:
            raise TypeError("pattern is for a string or a path")
        limits: dict[str, Any] = {}
        # A list's min and max are of the list, not of what is in it.
        alone = ParamTable() if self.is_list else table
        if plain is str:
            if table.pattern is not None:
                re.compile(table.pattern)
                limits["pattern"] = table.pattern
            if not self._dash:
                # The hub refuses it too, before the job is queued.
                limits["extra_json_schema"] = {"not": {"pattern": "^-"}}
            limits |= _bounds(alone, "min_length", "max_length", whole=True)
        elif plain is bool:
            if alone.min is not None or alone.max is not None:
                raise TypeError("a boolean has no min or max")
        else:
            if not self._dash:
                limits["ge"] = 0
            limits |= _bounds(alone, "ge", "le", whole=plain is int)
        return _limited(plain, limits)

    def _default(self, table: ParamTable) -> Any:
        if table.default is not msgspec.UNSET:
            value = msgspec.convert(table.default, self.hint)
            if wrong := self.check(value):
                raise ValueError(f"default: {wrong[0][1]}")
            return value
        if table.optional:
            self.hint = self.hint | msgspec.UnsetType
            return msgspec.UNSET
        return False if self.kind == "boolean" else msgspec.NODEFAULT


def as_text(value: Any) -> str:
    """A value as one word of a command line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # JSON does not tell 5 from 5.0; most commands do
    return str(value)


def _limited(hint: Any, limits: dict[str, Any]) -> Any:
    return Annotated[hint, msgspec.Meta(**limits)] if limits else hint


def _bounds(table: ParamTable, low: str, high: str, *, whole: bool) -> dict[str, Any]:
    bounds: dict[str, Any] = {}
    for key, name, limit in (("min", low, table.min), ("max", high, table.max)):
        if limit is not None:
            if whole and not limit.is_integer():
                raise TypeError(f"{key} must be a whole number")
            bounds[name] = int(limit) if whole else limit
    return bounds
