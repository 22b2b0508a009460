"""`/openapi.json` (OpenAPI 3.1), made of the same operations and structs that serve requests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from http import HTTPStatus
from importlib.metadata import version
from typing import Any, Final

import msgspec
from msgspec import NODEFAULT, Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from hub.api.operation import Operation, seen_at
from hub.fields import NO_NEWLINE
from hub.problems import MEDIA_TYPE, Problem

_REF: Final = "#/components/schemas/{name}"
_ABOUT: Final = (
    "Background jobs whose every step is pushed. The WebSocket at `/ws` and `/ws/{session_id}`"
    " speaks JSON text frames, which this document does not describe."
)
_CREDENTIAL: Final = (
    "A session token, or an API key. Streams take a session token as `?token=` as well."
)
_PROBLEMS: Final = {
    400: "The body cannot be read.",
    401: "The credential is missing, bad or expired.",
    403: "The credential does not cover the session, or lacks the scope.",
    404: "There is no such thing, or none that the caller may know of.",
    409: "The job is not in a status that allows it.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    422: "The request does not fit: `errors` names each field.",
    429: "Too many requests: come back after Retry-After.",
    503: "Redis or the hub is away or full: come back after Retry-After.",
}


def openapi_routes(operations: Sequence[Operation]) -> list[BaseRoute]:
    """The route of the document about these operations. It needs no credential."""

    async def endpoint(request: Request) -> Response:
        found = _encoded(tuple(operations), seen_at(request, "") or "/")
        return Response(found, media_type="application/json")

    return [Route("/openapi.json", endpoint)]


@lru_cache(maxsize=4)
def _encoded(operations: tuple[Operation, ...], server: str) -> bytes:
    return msgspec.json.encode({**document(operations), "servers": [{"url": server}]})


def document(operations: Iterable[Operation]) -> dict[str, Any]:
    """The OpenAPI document of these operations."""
    operations = list(operations)
    types: list[Any] = [Problem]
    for operation in operations:
        types += [t for t in (operation.body, operation.query) if t is not None]
        types += operation.path_types.values()
        for kind in operation.answers.values():
            types += [t for t in _kinds(kind) if not isinstance(t, str)]
    schemas, components = msgspec.json.schema_components(types, ref_template=_REF)
    by_type = {id(kind): schema for kind, schema in zip(types, schemas, strict=True)}
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        entry = _operation(operation, by_type, components)
        paths.setdefault(operation.path, {})[operation.method.lower()] = entry
    for operation in operations:
        if operation.query is not None:
            components.pop(operation.query.__name__, None)
    whole: dict[str, Any] = _tidy(_whole(paths, components, by_type[id(Problem)]))
    return whole


def _whole(
    paths: dict[str, Any], components: dict[str, Any], problem: dict[str, Any]
) -> dict[str, Any]:
    return {
        "openapi": "3.1.1",
        "info": {"title": "Jobcast", "version": version("jobcast"), "description": _ABOUT},
        "paths": paths,
        "components": {
            "schemas": components,
            "responses": {
                str(status): {
                    "description": text,
                    "content": {MEDIA_TYPE: {"schema": problem}},
                }
                for status, text in _PROBLEMS.items()
            },
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": _CREDENTIAL}
            },
        },
        "security": [{"bearer": []}],
    }


def _tidy(part: Any) -> Any:
    """The document with its regular expressions as every engine reads them."""
    if isinstance(part, dict):
        return {
            name: value.removesuffix(NO_NEWLINE)
            if name == "pattern" and isinstance(value, str)
            else _tidy(value)
            for name, value in part.items()
        }
    return [_tidy(item) for item in part] if isinstance(part, list) else part


def _kinds(kind: Any) -> tuple[Any, ...]:
    """The bodies of an answer: types and media types."""
    return kind if isinstance(kind, tuple) else () if kind is None else (kind,)


def _operation(
    operation: Operation, by_type: dict[int, Any], components: dict[str, Any]
) -> dict[str, Any]:
    errors = set(operation.errors) | (set() if operation.open else {401, 403, 503})
    entry: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "tags": [operation.tag],
        "parameters": _parameters(operation, by_type, components),
        "responses": {
            **{
                str(status): _answer(status, kind, by_type)
                for status, kind in operation.answers.items()
            },
            **{
                str(status): {"$ref": f"#/components/responses/{status}"}
                for status in sorted(errors - set(operation.answers))
            },
        },
    }
    if operation.body is not None:
        entry["requestBody"] = {
            "required": not operation.body_optional,
            "content": {"application/json": {"schema": by_type[id(operation.body)]}},
        }
    if operation.open:
        entry["security"] = []
    return entry


def _answer(status: int, kind: Any, by_type: dict[int, Any]) -> dict[str, Any]:
    content = {
        (body if isinstance(body, str) else "application/json"): {
            "schema": {"type": "string"} if isinstance(body, str) else by_type[id(body)]
        }
        for body in _kinds(kind)
    }
    answer: dict[str, Any] = {"description": HTTPStatus(status).phrase}
    return {**answer, "content": content} if content else answer


def _parameters(
    operation: Operation, by_type: dict[int, Any], components: dict[str, Any]
) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": by_type[id(kind)]}
        for name, kind in operation.path_types.items()
    ]
    if operation.query is not None:
        properties = components.get(operation.query.__name__, {}).get("properties", {})
        found += [
            {
                "name": name,
                "in": "query",
                "required": required,
                "schema": _without_null(properties[name]),
            }
            for name, required in _fields(operation.query)
        ]
    found += [
        {"name": name, "in": "header", "description": text, "schema": {"type": "string"}}
        for name, text in operation.headers.items()
    ]
    return found


def _fields(query: type[Struct]) -> list[tuple[str, bool]]:
    return [
        (field.encode_name, field.default is NODEFAULT and field.default_factory is NODEFAULT)
        for field in msgspec.structs.fields(query)
    ]


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A query parameter is there or not: it is never null."""
    kept: list[dict[str, Any]] = [p for p in schema.get("anyOf", []) if p != {"type": "null"}]
    if len(kept) == 1:
        return kept[0]
    return {name: value for name, value in schema.items() if (name, value) != ("default", None)}
