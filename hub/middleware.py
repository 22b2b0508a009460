"""What every request passes before it reaches its door: pure ASGI, so that streams stay streams."""

from __future__ import annotations

from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hub.errors import Refused
from hub.origins import Origins
from hub.problems import Malformed, TooLarge, response

_PREFLIGHT_SECONDS: Final = 600
_ALLOWED_METHODS: Final = "GET, POST, PATCH, DELETE"
_ALLOWED_HEADERS: Final = (
    "Authorization, Content-Type, Idempotency-Key, Last-Event-ID,"
    " Mcp-Protocol-Version, Mcp-Method, Mcp-Name"
)
_EXPOSED_HEADERS: Final = "Location, Retry-After"

#: For what has no policy of its own: nothing may run in it, and nobody may frame it.
_SECURITY: Final = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class OriginGuard:
    """Refuses what another Host was asked for and what a foreign page sends, over HTTP and at the
    upgrade to WebSocket alike; tells the pages of listed origins that they may (CORS)."""

    def __init__(self, app: ASGIApp, origins: Origins) -> None:
        self._app = app
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        host, origin = headers.get("host"), headers.get("origin")
        why = self._origins.refusal(origin, host)
        if why:
            await _refuse(scope, receive, send, why)
        elif origin is None or scope["type"] == "websocket" or not self._origins.listed(origin):
            await self._app(scope, receive, send)
        elif scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            await _preflight(origin)(scope, receive, send)
        else:
            await self._app(scope, receive, _allowing(origin, send))


async def _refuse(scope: Scope, receive: Receive, send: Send, why: str) -> None:
    if scope["type"] == "websocket":
        # Closed before it was accepted: the server answers the upgrade with 403.
        await send({"type": "websocket.close", "code": 1008, "reason": ""})
    else:
        await response(Refused(why))(scope, receive, send)


def _preflight(origin: str) -> Response:
    return Response(
        status_code=204,
        headers={
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Allow-Methods": _ALLOWED_METHODS,
            "Access-Control-Allow-Headers": _ALLOWED_HEADERS,
            "Access-Control-Max-Age": str(_PREFLIGHT_SECONDS),
            "Vary": "Origin",
        },
    )


def _allowing(origin: str, send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["Access-Control-Allow-Origin"] = origin
            headers["Access-Control-Expose-Headers"] = _EXPOSED_HEADERS
            headers.add_vary_header("Origin")
        await send(message)

    return sending


class SecurityHeaders:
    """Adds the headers that keep a response from being more than it is."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _SECURITY.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, sending if scope["type"] == "http" else send)


class BodyLimit:
    """Stops reading a body once it is larger than `most` bytes; one that says so beforehand is
    not read at all."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app = app
        self._most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        too_large = TooLarge(f"The body has more than {self._most} bytes.")
        said = Headers(scope=scope).get("content-length", "0")
        if not (said.isascii() and said.isdigit()):
            await response(Malformed("Content-Length is not a number."))(scope, receive, send)
            return
        if len(said) > 18 or int(said) > self._most:
            await response(too_large)(scope, receive, send)
            return
        read = 0

        async def receiving() -> Message:
            nonlocal read
            message = await receive()
            if message["type"] == "http.request":
                read += len(message.get("body", b""))
                if read > self._most:
                    raise too_large
            return message

        await self._app(scope, receiving, send)
