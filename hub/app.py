"""The hub: one Starlette app of all doors, over services that live as long as it does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import RedisError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from hub.api import OPERATIONS
from hub.api.operation import routes_of
from hub.auth import Authenticator
from hub.calls import Calls
from hub.connection import check_server, connect
from hub.enqueue import Enqueuer
from hub.errors import JobcastError
from hub.fanout import Fanout
from hub.gate import door
from hub.mcp.door import McpDoor
from hub.metrics.board import Board
from hub.metrics.keeper import keep_posted
from hub.middleware import BodyLimit, OriginGuard, SecurityHeaders
from hub.openapi import openapi_routes
from hub.origins import Origins
from hub.page import page_routes
from hub.problems import handle
from hub.ratelimit import RateLimit
from hub.scheduler import Scheduler
from hub.scripts import Scripts
from hub.services import Services
from hub.settings import Settings
from hub.store import Store
from hub.streams import Streams
from hub.supervisor import keep_running
from hub.tick import Ticker
from hub.transitions import Transitions
from hub.webhooks.delivery import deliver

CONNECT_BURST: Final = 4
ENQUEUE_BURST: Final = 5


def create_app(settings: Settings, board: Board | None = None) -> Starlette:
    """The app. Its lifespan connects to Redis, and refuses one that is not fit; for one that is
    mounted in another app see `lifespan`. `board` is for processes that share a port.

    Raises SettingsError for settings that cannot be: no secret, keys that are none, and so on."""
    auth, origins = Authenticator(settings), Origins(settings)
    settings.checked_metrics_token()
    board = Board() if board is None else board
    mcp = McpDoor()

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        redis = connect(settings.redis_url)
        try:
            await check_server(redis)
            async with Calls(redis) as calls:
                services = _services(settings, redis, calls, auth, origins, board)
                app.state.services = services
                async with _running(services), mcp.running():
                    yield
        finally:
            await redis.aclose()

    app = Hub(
        origins,
        routes=_routes(mcp),
        lifespan=lifespan,
        middleware=[
            Middleware(SecurityHeaders),
            Middleware(OriginGuard, origins=origins),
            Middleware(BodyLimit, most=settings.body_bytes),
        ],
        exception_handlers=_handlers(),
    )
    app.router.redirect_slashes = False
    return app


class Hub(Starlette):
    """The app. WebSockets do not go through its middleware and routes: what these do for them is
    two checks and one address, and takes most of the time of a handshake."""

    def __init__(self, origins: Origins, **more: Any) -> None:
        super().__init__(**more)
        self._guarded = OriginGuard(door, origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            scope["app"] = self
            await self._guarded(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def lifespan(app: Starlette) -> AbstractAsyncContextManager[Any]:
    """What runs an app of `create_app` that is mounted in another one: Starlette runs the
    lifespan of the outermost app only, so that one has to enter this in its own.

    Raises SettingsError for a server that cannot be reached or is not fit."""
    return app.router.lifespan_context(app)


def _handlers() -> dict[Any, Any]:
    kinds = (JobcastError, HTTPException, RedisError, ClientDisconnect, Exception)
    return dict.fromkeys(kinds, handle)


def _routes(mcp: McpDoor) -> list[BaseRoute]:
    return [
        *routes_of(OPERATIONS),
        Route("/mcp", mcp),
        *openapi_routes(OPERATIONS),
        *page_routes(),
    ]


def _services(
    settings: Settings,
    redis: Redis,
    calls: Calls,
    auth: Authenticator,
    origins: Origins,
    board: Board,
) -> Services:
    scripts = Scripts(settings)
    store = Store(redis, scripts, calls)
    enqueuer = Enqueuer(store, settings)
    fanout = Fanout(
        redis, store, limit=settings.connections_per_session, check_every=settings.check_every
    )
    return Services(
        settings=settings,
        redis=redis,
        scripts=scripts,
        store=store,
        transitions=Transitions(redis, scripts),
        auth=auth,
        origins=origins,
        enqueuer=enqueuer,
        scheduler=Scheduler(redis, scripts, enqueuer, lease=settings.lease, keep=settings.keep),
        fanout=fanout,
        streams=Streams(fanout, settings),
        connect_limit=RateLimit(settings.connect_rate, settings.connect_rate * CONNECT_BURST),
        enqueue_limit=RateLimit(settings.enqueue_rate, settings.enqueue_rate * ENQUEUE_BURST),
        board=board,
    )


@asynccontextmanager
async def _running(services: Services) -> AsyncIterator[None]:
    """The hub's own tasks, for as long as the context lasts."""
    redis, scripts = services.redis, services.scripts
    deliverer = partial(
        deliver,
        redis,
        scripts,
        services.settings,
        services.draining,
        services.webhook_results,
    )
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(keep_running(name, run), name=name)
            for name, run in (
                ("fanout", services.fanout.run),
                ("streams", services.streams.run),
                ("tick", Ticker(redis, scripts, services.scheduler).run),
                ("webhooks", deliverer),
                ("event-loop lag", services.loop_lag.run),
                ("metrics", partial(keep_posted, services)),
            )
        ]
        try:
            yield
        finally:
            services.draining.set()
            # A try that is cut off is made again when its lease is over.
            for task in tasks:
                task.cancel()
