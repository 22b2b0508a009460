"""python-socketio on uvicorn and uvloop: what Redis publishes is emitted to every client."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import socketio
import uvicorn
from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.routing import Mount

sio: Any = socketio.AsyncServer(async_mode="asgi", transports=["websocket"])


async def relay(redis_url: str) -> None:
    # However long a broadcast keeps it from reading.
    pubsub = Redis.from_url(redis_url, socket_timeout=None).pubsub()
    await pubsub.subscribe("bench")
    async for message in pubsub.listen():
        if message["type"] == "message":
            await sio.emit("e", json.loads(message["data"]))


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

    app = Starlette(routes=[Mount("/", socketio.ASGIApp(sio))], lifespan=lifespan)
    config = uvicorn.Config(
        app, port=0, ws="websockets-sansio", ws_per_message_deflate=False, log_level="error"
    )
    Server(config).run()


main()
