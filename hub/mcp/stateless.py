"""MCP over streamable HTTP within a hub, where each request brings its own rights."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

from hub.agent.desk import OwnDesk
from hub.agent.toolbox import Toolbox
from hub.agent.watch import watching
from hub.mcp.server import make_server
from hub.mcp.visit import Context, Visit
from hub.principal import Principal
from hub.services import Services


def make_manager(over: asyncio.Event) -> StreamableHTTPSessionManager:
    """What serves requests whose scope has a Visit as `jobcast.visit`. Streams end with `over`."""
    server, _ = make_server(_visit_of, over, subscribe=False)
    return StreamableHTTPSessionManager(server, stateless=True)


def visit(services: Services, principal: Principal, session_id: str) -> Visit:
    """A caller's view of a session, with its own rights."""
    allow = partial(services.enqueue_limit.require, principal.credential, "jobs queued")
    desk = OwnDesk(services.store, services.transitions, services.enqueuer, principal, allow=allow)
    watcher = watching(services.fanout)
    tools = Toolbox(desk, watcher=watcher, over=services.draining)
    return Visit(session_id=session_id, tools=tools, desk=desk, watcher=watcher)


def _visit_of(ctx: Context) -> Visit:
    request: Any = ctx.request
    found: Visit = request.scope["jobcast.visit"]
    return found
