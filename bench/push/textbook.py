"""The textbook: Starlette, a ConnectionManager, and `send_text` in a loop over Redis pub/sub."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect


class ConnectionManager:
    """As in every tutorial."""

    def __init__(self) -> None:
        self.active: list[WebSocket] = []

    async def broadcast(self, message: str) -> None:
        for connection in list(self.active):
            await connection.send_text(message)


manager = ConnectionManager()


async def endpoint(websocket: WebSocket) -> None:
    await websocket.accept()
    manager.active.append(websocket)
    try:
        while True:
            await websocket.receive_text()
    except WebSocketDisconnect:
        manager.active.remove(websocket)


async def relay(redis_url: str) -> None:
    # However long a broadcast keeps it from reading.
    pubsub = Redis.from_url(redis_url, socket_timeout=None).pubsub()
    await pubsub.subscribe("bench")
    async for message in pubsub.listen():
        if message["type"] == "message":
            await manager.broadcast(message["data"].decode())


def main() -> None:
    redis_url = sys.argv[1]

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        task = asyncio.create_task(relay(redis_url))
        yield
        task.cancel()

    class Server(uvicorn.Server):
        async def startup(self, sockets: object = None) -> None:
            await super().startup()
            print(self.servers[0].sockets[0].getsockname()[1], flush=True)

    app = Starlette(routes=[WebSocketRoute("/ws/{session}", endpoint)], lifespan=lifespan)
    config = uvicorn.Config(
        app, port=0, ws="websockets-sansio", ws_per_message_deflate=False, log_level="error"
    )
    Server(config).run()


main()
