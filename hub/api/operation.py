"""An operation of the API, declared once: it makes the route and its part of `/openapi.json`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from hub.auth import Principal, bearer
from hub.decode import NotJsonText, decode, decode_query
from hub.fields import WORDS
from hub.problems import Malformed, NotJson
from hub.requests import Nothing
from hub.services import services_of

#: How long a body may take to arrive, in seconds.
BODY_SECONDS: Final = 30

Endpoint = Callable[[Request], Awaitable[Response]]
Method = Literal["GET", "POST", "PATCH", "PUT", "DELETE"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Operation:
    """One method of one path.

    `body` and `query` are the structs that decode the request (`read_body`, `read_query`),
    `path_types` the types of the path's parameters. `answers` maps a status to the struct of its
    JSON body, to a media type, or to None for no body; `errors` are the statuses of its problems
    beside 401, 403 and 503, which any may answer. `headers` are request headers that it reads."""

    method: Method
    path: str
    endpoint: Endpoint
    name: str
    summary: str
    tag: str
    body: Any = None
    body_optional: bool = False
    query: type[Struct] | None = None
    path_types: Mapping[str, Any] = field(default_factory=dict)
    answers: Mapping[int, Any] = field(default_factory=dict)
    errors: tuple[int, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    open: bool = False


def routes_of(operations: Iterable[Operation]) -> list[BaseRoute]:
    """Starlette routes, one a path, so that a wrong method is told all that there are."""
    by_path: dict[str, dict[str, Endpoint]] = {}
    for operation in operations:
        by_path.setdefault(operation.path, {})[operation.method] = operation.endpoint
    return [Route(path, _dispatch(ways), methods=[*ways]) for path, ways in by_path.items()]


def _dispatch(ways: Mapping[str, Endpoint]) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        return await ways[method](request)

    return endpoint


def caller(request: Request) -> Principal:
    """Who sent the request. Raises Unauthenticated."""
    return services_of(request).auth.authenticate(bearer(request.headers.get("authorization")))


async def read_body(request: Request, kind: type[Any], *, optional: bool = False) -> Any:
    """The request's body as the struct `kind`; with `optional`, no body is an empty object.

    Raises as `read_json`, and BadInput naming each wrong field."""
    return decode_body(await read_json(request, optional=optional), kind)


async def read_json(request: Request, *, optional: bool = False) -> bytes:
    """The request's body; with `optional`, no body is an empty object.

    Raises NotJson, TooLarge (from the middleware that counts what is read), and HTTPException 408
    for one that takes too long."""
    try:
        async with asyncio.timeout(BODY_SECONDS):
            raw = await request.body()
    except TimeoutError:
        raise HTTPException(408, f"The body did not arrive within {BODY_SECONDS} s.") from None
    if optional and not raw:
        return b"{}"
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media != "application/json" and not (
        media.startswith("application/") and media.endswith("+json")
    ):
        sent = f", not as {media[:100]}" if media else ""
        raise NotJson(f"The body must be sent as application/json{sent}.")
    return raw


def decode_body(raw: bytes, kind: type[Any]) -> Any:
    """A body as the struct `kind`. Raises Malformed, and BadInput naming each wrong field."""
    try:
        return decode(raw, kind, WORDS)
    except NotJsonText as error:
        raise Malformed(f"The body is not JSON: {error}.") from None


async def no_body(request: Request) -> None:
    """For calls that take nothing: an empty body or `{}`."""
    await read_body(request, Nothing, optional=True)


def read_query(request: Request, kind: type[Any]) -> Any:
    """The query string as the struct `kind`. Raises BadInput naming each wrong parameter."""
    return decode_query(request.query_params.multi_items(), kind, WORDS)


def seen_at(request: Request, path: str) -> str:
    """A path of the hub's as its clients see it: below the path of JOBCAST_PUBLIC_URL, or else
    below where the app is mounted."""
    public = urlsplit(services_of(request).settings.public_url).path.rstrip("/")
    return (public or request.scope.get("root_path", "")) + path


def answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON response, which nobody may keep: it is for its caller alone."""
    return Response(
        msgspec.json.encode(value),
        status,
        {"Cache-Control": "no-store", **(headers or {})},
        "application/json",
    )
