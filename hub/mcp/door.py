"""`/mcp`: streamable HTTP, for whoever has a credential. The package `mcp` is imported at the
first request, in a thread, since that takes a second."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from hub.auth import bearer
from hub.decode import decode_query
from hub.errors import BadInput, JobcastError, SettingsError
from hub.fields import WORDS, SessionId
from hub.mcp import check_installed
from hub.principal import Principal
from hub.problems import MEDIA_TYPE, problem, response
from hub.services import Services, services_of


class _Query(Struct, kw_only=True, forbid_unknown_fields=True):
    session_id: SessionId | None = None


class Manager(Protocol):
    """What serves MCP over HTTP, once it runs."""

    def run(self) -> AbstractAsyncContextManager[None]:
        """Runs for as long as the context."""

    async def handle_request(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""


class McpDoor:
    """An ASGI app. `running` is part of the hub's lifespan.

    Nothing is kept between requests, so that any of several hub processes can serve each; there
    is no stream of the server's own, hence no GET."""

    def __init__(self) -> None:
        self._starting = asyncio.Lock()
        self._over = asyncio.Event()
        self._group: asyncio.TaskGroup | None = None
        self._manager: Manager | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Serves until the context ends."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            self._over.clear()
            try:
                yield
            finally:
                self._group = self._manager = None
                self._over.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        app = await self._admit(request)
        await app(scope, receive, send)

    async def _admit(self, request: Request) -> ASGIApp:
        services = services_of(request)
        try:
            principal = services.auth.authenticate(bearer(request.headers.get("authorization")))
            session_id = _session_of(request, principal)
            principal.require("read", session_id)
            check_installed()
        except SettingsError as error:
            return _said(501, str(error))
        except JobcastError as error:
            return response(error)
        if request.method != "POST":
            return _said(405, "MCP is spoken by POST here.", {"Allow": "POST"})
        manager = await self._ready(services)
        from hub.mcp.stateless import visit

        request.scope["jobcast.visit"] = visit(services, principal, session_id)
        return manager.handle_request

    async def _ready(self, services: Services) -> Manager:
        async with self._starting:
            if self._manager is None:
                manager = await asyncio.to_thread(_load, services.draining)
                started = asyncio.Event()
                if self._group is None:
                    raise RuntimeError("the hub is not running")
                self._group.create_task(self._run(manager, started), name="mcp")
                await started.wait()
                self._manager = manager
            return self._manager

    async def _run(self, manager: Manager, started: asyncio.Event) -> None:
        async with manager.run():
            started.set()
            await self._over.wait()


def _load(over: asyncio.Event) -> Manager:
    from hub.mcp.stateless import make_manager

    return make_manager(over)


def _said(status: int, detail: str, headers: dict[str, str] | None = None) -> Response:
    body = msgspec.json.encode(problem(status, detail))
    return Response(body, status, {"Cache-Control": "no-store", **(headers or {})}, MEDIA_TYPE)


def _session_of(request: Request, principal: Principal) -> str:
    query: Any = decode_query(request.query_params.multi_items(), _Query, WORDS)
    if query.session_id is not None:
        found: str = query.session_id
        return found
    if len(principal.sessions) == 1 and not principal.sessions[0].endswith("*"):
        return principal.sessions[0]
    raise BadInput([("/session_id", "must say which session: /mcp?session_id=…")])
