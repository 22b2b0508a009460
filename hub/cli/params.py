"""Params as they are typed in a shell, `key=value`, made to fit a task's JSON Schema. No I/O."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from hub.announcements import Announcement
from hub.errors import BadInput


def params_of(words: Iterable[str], task: Announcement) -> dict[str, Any]:
    """The params of `name=value` words. A value is text where the task takes text, and JSON where
    it takes something else; `name:=value` is JSON whatever it takes.

    Raises BadInput naming each word that is none, or that the task does not take."""
    schema = msgspec.json.decode(task.params)
    known = schema.get("properties", {})
    closed = schema.get("additionalProperties") is False
    params: dict[str, Any] = {}
    errors: list[tuple[str, str]] = []
    for word in words:
        name, equals, value = word.partition("=")
        as_json = name.endswith(":")
        name = name.removesuffix(":")
        if not equals or not name:
            errors.append(("", f"{word!r} is not name=value, nor name:=JSON"))
            continue
        if closed and name not in known:
            errors.append((f"/params/{name}", _unknown(name, known, f"{task.name} takes")))
            continue
        try:
            params[name] = _value(value, known.get(name, {}), as_json)
        except msgspec.DecodeError:
            takes = known.get(name, {}).get("type", "JSON")
            errors.append((f"/params/{name}", f"{value!r} is no {takes} in JSON"))
    if errors:
        raise BadInput(errors)
    return params


def _value(text: str, schema: Mapping[str, Any], as_json: bool) -> Any:
    if as_json:
        return msgspec.json.decode(text)
    kinds = _kinds(schema)
    if not kinds or "string" in kinds:
        # What a task takes as text or as something else is that, where it looks like it.
        if kinds - {"string"}:
            try:
                value = msgspec.json.decode(text)
            except msgspec.DecodeError:
                return text
            return text if isinstance(value, str) else value
        return text
    if "boolean" in kinds and text.lower() in ("yes", "no", "on", "off"):
        return text.lower() in ("yes", "on")
    return msgspec.json.decode(text)


def _kinds(schema: Mapping[str, Any]) -> set[str]:
    found: set[str] = set()
    kind = schema.get("type")
    if isinstance(kind, list):
        found |= set(kind)
    elif kind is not None:
        found.add(str(kind))
    for each in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        found |= _kinds(each)
    if not found and "enum" in schema:
        found |= {"string" if isinstance(v, str) else "other" for v in schema["enum"]}
    return found


def task_named(name: str, tasks: Iterable[Announcement]) -> Announcement:
    """The task of this name. Raises BadInput, with the nearest names, where there is none."""
    by_name = {task.name: task for task in tasks}
    if name in by_name:
        return by_name[name]
    if not by_name:
        text = "no worker has announced any task: start one with jobcast worker tasks.py"
        raise BadInput([("", text)])
    raise BadInput([("", f"no worker has announced {_unknown(name, by_name, 'there are')}")])


def _unknown(name: str, known: Iterable[str], has: str) -> str:
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if near:
        return f"{name!r}. Did you mean {' or '.join(near)}?"
    return f"{name!r}; {has}: {', '.join(names) or 'nothing'}"


def usage(task: Announcement) -> str:
    """How a task's params are typed, in brief: `environment=staging [version=…]`."""
    schema = msgspec.json.decode(task.params)
    required = set(schema.get("required", ()))
    words = []
    for name, each in schema.get("properties", {}).items():
        options = each.get("enum")
        default = each.get("default")
        shown = (
            "|".join(map(str, options))
            if options
            else "…"
            if default in (None, "")
            else default
            if isinstance(default, str)
            else msgspec.json.encode(default).decode()
        )
        words.append(f"{name}={shown}" if name in required else f"[{name}={shown}]")
    return " ".join(words)
