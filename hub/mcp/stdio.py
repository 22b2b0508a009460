"""MCP over stdin and stdout, for an agent beside it: one session of a hub, spoken to over HTTP."""

from __future__ import annotations

import asyncio

from mcp.server.stdio import stdio_server

from hub.agent.toolbox import Toolbox
from hub.agent.watch import watching_over
from hub.client import Client
from hub.mcp.server import make_server
from hub.mcp.visit import Visit


async def serve(url: str, token: str, session_id: str) -> None:
    """Serves until stdin ends. Raises SettingsError for a URL that is none; what the hub refuses
    is told to the agent, call by call."""
    async with Client(url, token) as client:
        visit = Visit(
            session_id=session_id,
            tools=Toolbox.over(client),
            desk=client,
            watcher=watching_over(client),
        )
        server, subscriptions = make_server(lambda _: visit, asyncio.Event(), subscribe=True)
        options = server.create_initialization_options()
        async with stdio_server() as (reading, writing), asyncio.TaskGroup() as group:
            news = group.create_task(subscriptions.run(visit))
            try:
                await server.run(reading, writing, options)
            finally:
                news.cancel()
