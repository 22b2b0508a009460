"""From a function's signature to typed params: the struct, its checks, its JSON Schema."""

from __future__ import annotations

import copy
import inspect
import re
import typing
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

__all__ = ["InvalidParams", "ParamsType", "TaskError", "pointer", "read_signature", "schema_of"]

_CONTEXT = re.compile(r"(?:\w+\.)*(?:Sync)?Context")


class TaskError(Exception):
    """A task is declared wrongly; the message names the task and says what to change."""


class InvalidParams(Exception):
    """Params that do not fit their task. ``errors`` is a list of (JSON pointer, message).

    Pointers start at the params object: ``/selector``, ``/files/2``; ``""`` is the object itself.
    """

    def __init__(self, errors: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{where or 'params'}: {what}" for where, what in errors))
        self.errors = errors


class ParamsType:
    """The typed params of one task. ``fields`` are (name, type, default); NODEFAULT means required.

    Raises TaskError when a type or a default cannot be expressed in JSON.
    """

    def __init__(self, task: str, fields: list[tuple[str, Any, Any]]) -> None:
        self.task = task
        try:
            self.struct = msgspec.defstruct(
                "Params",
                [(name, hint, _field(default)) for name, hint, default in fields],
                kw_only=True,
                forbid_unknown_fields=True,
            )
            self.schema = schema_of(self.struct)
            self._decoder = msgspec.json.Decoder(self.struct)
            self._decoders = {name: msgspec.json.Decoder(hint) for name, hint, _ in fields}
        except (TypeError, ValueError, NotImplementedError) as error:
            raise TaskError(f"task {task}: params: {beyond_json(error)}") from error
        self.schema.pop("title", None)
        self._required = {name for name, _, default in fields if default is msgspec.NODEFAULT}

    def decode(self, raw: bytes) -> dict[str, Any]:
        """The params in ``raw``, a JSON object, defaults filled in. What is UNSET is left out.

        Raises InvalidParams with every field that is wrong, not only the first.
        """
        try:
            params = self._decoder.decode(raw)
        except (msgspec.DecodeError, RecursionError) as error:
            raise InvalidParams(self._errors(raw) or [("", str(error))]) from None
        values = {name: getattr(params, name) for name in self.struct.__struct_fields__}
        return {name: value for name, value in values.items() if value is not msgspec.UNSET}

    def _errors(self, raw: bytes) -> list[tuple[str, str]]:
        try:
            fields = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
        except (msgspec.DecodeError, RecursionError) as error:
            return [("", str(error))]
        errors = [(pointer(name), "is required") for name in sorted(self._required - fields.keys())]
        for name, value in fields.items():
            decoder = self._decoders.get(name)
            if decoder is None:
                errors.append((pointer(name), f"is not a param of {self.task}"))
                continue
            try:
                decoder.decode(value)
            except msgspec.ValidationError as error:
                message, path = _split(str(error))
                errors.append((pointer(name) + path, message))
            except (msgspec.DecodeError, RecursionError) as error:
                errors.append((pointer(name), str(error)))
        return errors


def read_signature(
    function: Callable[..., Any], task: str
) -> tuple[list[tuple[str, Any, Any]], str | None, Any]:
    """(fields for ParamsType, name of the Context parameter or None, type of the result).

    String annotations are resolved in the function's own module and closure; a Context that is
    imported for type checkers only is recognised by its name. Without a return annotation the
    result is Any. Raises TaskError for what cannot be a param: no annotation, ``*args``,
    ``**kwargs``, positional-only.
    """
    fields: list[tuple[str, Any, Any]] = []
    context: str | None = None
    signature = inspect.signature(function)
    for name, parameter in signature.parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise TaskError(f"task {task}: *{name}: params have names; declare each of them")
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise TaskError(
                f"task {task}: {name}: params come by name; it cannot be positional-only"
            )
        if parameter.annotation is parameter.empty:
            raise TaskError(f"task {task}: {name}: needs a type, as in `{name}: str`")
        hint = _resolve(function, task, name, parameter.annotation)
        if hint is _CONTEXT or _is_context(hint):
            if context is not None:
                raise TaskError(f"task {task}: {context} and {name}: one Context is enough")
            context = name
            continue
        default = msgspec.NODEFAULT if parameter.default is parameter.empty else parameter.default
        fields.append((name, hint, default))
    if signature.return_annotation is signature.empty:
        return fields, context, Any
    return fields, context, _resolve(function, task, "return", signature.return_annotation)


def schema_of(kind: Any) -> dict[str, Any]:
    """JSON Schema (2020-12) of a type, its own definition at the top; others stay in ``$defs``."""
    (top,), definitions = msgspec.json.schema_components([kind], ref_template="#/$defs/{name}")
    name = top.get("$ref", "").removeprefix("#/$defs/")
    # A type that refers to itself still needs its definition under its name.
    if name and f'"#/$defs/{name}"' not in msgspec.json.encode(definitions).decode():
        top = definitions.pop(name)
    return {**top, "$defs": definitions} if definitions else dict(top)


def beyond_json(error: Exception) -> str:
    """What msgspec says of a type that JSON cannot hold, and what would do."""
    what = str(error).strip().splitlines()[-1]
    return (
        f"{what}; JSON has str, int, float, bool, list, dict, dataclasses, TypedDicts, Enums, Any"
    )


def pointer(*steps: str | int) -> str:
    """A JSON pointer (RFC 6901)."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in steps)


def _field(default: Any) -> Any:
    if isinstance(default, list | dict | set) and default:
        return msgspec.field(default_factory=lambda: copy.deepcopy(default))
    return msgspec.field(default=default)


def _resolve(function: Callable[..., Any], task: str, name: str, annotation: Any) -> Any:
    bound: Mapping[str, Any] = getattr(function, "__globals__", {})
    closure = inspect.getclosurevars(function).nonlocals if inspect.isfunction(function) else {}
    holder = type("Holder", (), {"__annotations__": {name: annotation}})
    try:
        hints = typing.get_type_hints(holder, dict(bound), dict(closure), include_extras=True)
    except NameError as error:
        if isinstance(annotation, str) and _CONTEXT.fullmatch(annotation.strip()):
            return _CONTEXT
        raise TaskError(f"task {task}: {name}: cannot resolve {annotation!r}: {error}") from error
    except (AttributeError, SyntaxError, TypeError) as error:
        raise TaskError(f"task {task}: {name}: cannot resolve {annotation!r}: {error}") from error
    return hints[name]


def _is_context(hint: Any) -> bool:
    bases = hint.__mro__ if isinstance(hint, type) else ()
    return any(
        base.__module__ == "worker.context" and _CONTEXT.fullmatch(base.__name__) for base in bases
    )


def _split(message: str) -> tuple[str, str]:
    """msgspec's "what - at `$.a[0]`" as (what, JSON pointer "/a/0")."""
    what, _, path = message.rpartition(" - at `")
    if not what:
        return message, ""
    steps: list[str | int] = []
    for key, index in re.findall(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]", path.removesuffix("`")):
        if index == "...":  # a value somewhere in a mapping: msgspec does not say which
            break
        steps.append(int(index) if index else key)
    return what, pointer(*steps)
