"""`docs/api.md`, made of the OpenAPI document: `python -m hub.api_page`. Pure."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Any, Final

from hub.api import OPERATIONS
from hub.openapi import document

HEAD: Final = """\
# The HTTP API

<!-- Made by `make docs` from the operations that make /openapi.json. -->

A running hub says the same at `GET /openapi.json` (OpenAPI 3.1), for generators of clients. Frames
on WebSockets, events, and what the calls promise are in [the protocol](protocol.md).

- The credential is `Authorization: Bearer …`: an API key or a session token. Calls that need none
  say so; `(admin)` names the scope that a call takes.
- Bodies are JSON, sent as `application/json`; unknown members are refused. Durations are seconds,
  times ISO 8601 in UTC.
- Errors are `application/problem+json`: `type`, `title`, `status`, `detail`, and for 422 `errors`,
  a list of `{pointer, detail}`. [What each status means](#errors).
- In answers, what is absent is null.

"""
_ERRORS: Final = "## Errors\n\n| status | means |\n|---|---|\n"
_SHAPES: Final = """\
## Shapes

What bodies and answers are made of.
"""
_METHODS: Final = ("get", "post", "patch", "put", "delete")
#: Bounds of a schema, and how each is told.
_BOUNDS: Final = (
    ("minimum", "≥ {}"),
    ("maximum", "≤ {}"),
    ("exclusiveMinimum", "> {}"),
    ("exclusiveMaximum", "< {}"),
    ("minLength", "≥ {} characters"),
    ("maxLength", "≤ {} characters"),
    ("minItems", "≥ {} items"),
    ("maxItems", "≤ {} items"),
)


def api_page() -> str:
    """The page as Markdown, with a section for each call and each shape."""
    whole = document(OPERATIONS)
    return HEAD + "\n".join([*_calls(whole), *_errors(whole), *_shapes(whole)])


def _calls(whole: dict[str, Any]) -> Iterator[str]:
    by_tag: dict[str, list[str]] = {}
    for path, entry in whole["paths"].items():
        for method in _METHODS:
            if method in entry:
                section = _call(method, path, entry[method])
                by_tag.setdefault(entry[method]["tags"][0], []).append(section)
    for tag, sections in by_tag.items():
        yield f"## {tag.capitalize()}\n"
        yield from sections


def _call(method: str, path: str, entry: dict[str, Any]) -> str:
    lines = [f"### `{method.upper()} {path}`", "", entry["summary"], ""]
    if entry.get("security") == []:
        lines += ["It needs no credential.", ""]
    if entry["parameters"]:
        lines += ["| parameter | in | is | |", "|---|---|---|---|"]
        lines += map(_parameter, entry["parameters"])
        lines.append("")
    if "requestBody" in entry:
        optional = "" if entry["requestBody"]["required"] else ", or none"
        lines.append(f"- Body: {_content(entry['requestBody']['content'])}{optional}")
    errors = []
    for status, answer in entry["responses"].items():
        if "$ref" in answer:
            errors.append(status)
        else:
            told = _content(answer["content"]) if "content" in answer else "no body"
            lines.append(f"- {status} {answer['description']}: {told}")
    if errors:
        lines.append(f"- Errors: {', '.join(errors)}")
    return "\n".join([*lines, ""])


def _parameter(entry: dict[str, Any]) -> str:
    about = {"description": entry.get("description"), **entry["schema"]}
    notes = _notes(about, required=entry.get("required", False) and entry["in"] != "path")
    return f"| `{entry['name']}` | {entry['in']} | {_kind(entry['schema'])} | {notes} |"


def _content(content: dict[str, Any]) -> str:
    """The bodies that there may be: JSON by its shape, others by their media type."""
    return " or ".join(
        _kind(body["schema"]) if media == "application/json" else f"`{media}`"
        for media, body in content.items()
    )


def _errors(whole: dict[str, Any]) -> Iterator[str]:
    rows = whole["components"]["responses"].items()
    yield _ERRORS + "".join(f"| {status} | {_cell(row['description'])} |\n" for status, row in rows)


def _shapes(whole: dict[str, Any]) -> Iterator[str]:
    yield _SHAPES
    for name, schema in sorted(whole["components"]["schemas"].items()):
        yield _shape(name, schema)


def _shape(name: str, schema: dict[str, Any]) -> str:
    lines = [f"### {name}", ""]
    if "description" in schema:
        lines += [" ".join(schema["description"].split()), ""]
    fields = schema.get("properties", {})
    if not fields:
        return "\n".join([*lines, "It has no fields.", ""])
    lines += ["| field | is | |", "|---|---|---|"]
    for field, about in fields.items():
        notes = _notes(about, required=field in schema.get("required", ()))
        lines.append(f"| `{field}` | {_kind(about)} | {notes} |")
    return "\n".join([*lines, ""])


def _kind(schema: dict[str, Any]) -> str:
    """A schema's type in words, with a link where it is a shape of its own."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        kinds = sorted(
            map(_kind, schema["anyOf"]), key=lambda kind: (kind == "null", kind.startswith("list"))
        )
        return " or ".join(dict.fromkeys(kinds))
    if "enum" in schema:
        return ", ".join(f"`{_cell(str(value))}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{_cell(str(schema['const']))}`"
    if schema.get("type") == "array":
        items = _kind(schema.get("items", {}))
        return f"list of ({items})" if " or " in items else f"list of {items}"
    return str(schema.get("type", "any JSON"))


def _notes(schema: dict[str, Any], *, required: bool) -> str:
    found = ["required"] if required else []
    for each in (schema, *schema.get("anyOf", ())):
        if each.get("description") and "$ref" not in each:
            found.append(_cell(each["description"]))
        found += [words.format(f"{each[key]:,}") for key, words in _BOUNDS if key in each]
    # False, 0 and "" are told; an empty list or object is what absent means anyway.
    default = schema.get("default")
    if default is not None and default not in ([], {}):
        found.append(f"default `{_shown(default)}`")
    return "; ".join(_once(found))


def _once(words: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(word.rstrip(".") for word in words))


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else _cell(str(value)) or '""'


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(api_page())
