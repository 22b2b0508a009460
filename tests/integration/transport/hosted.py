"""uvicorn with the upgrade class, in a thread, and an app for every way that a handshake ends."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import uvicorn

from hub.transport.hand_over import HAND_OVER
from hub.transport.turns import Turns
from tests.integration.transport.raw import Echo, Raw

#: The key of RFC 6455 §1.3, and what must come back for it.
KEY, ACCEPT = "dGhlIHNhbXBsZSBub25jZQ==", b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


class Hosted:
    """`seen` are the words of the wires' owners, `scopes` what the app was given."""

    def __init__(self, http: Literal["h11", "httptools"], loop: Literal["asyncio", "uvloop"]):
        self.seen: list[str] = []
        self.scopes: list[Any] = []
        self.raised: list[BaseException] = []
        self.port = 0
        self.turns = Turns()
        self.go = threading.Event()
        self._up = threading.Event()
        self.server = uvicorn.Server(
            uvicorn.Config(
                self.app,
                host="127.0.0.1",
                port=0,
                interface="asgi3",
                http=http,
                loop=loop,
                ws="hub.transport.upgrade:Upgrade",
                lifespan="on",
                log_config=None,
                timeout_graceful_shutdown=10,
            )
        )

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            self._up.set()
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
        elif scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"http"})
        else:
            self.scopes.append(scope)
            await self.websocket(scope, receive, send)

    async def websocket(self, scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "websocket.connect"
        match scope["path"]:
            case "/refuse":
                await send({"type": "websocket.close", "code": 1008})
                return
            case "/silent":
                return
            case "/raise":
                raise RuntimeError("not today")
            case "/too-early":
                self.hand_over(scope)
                return
            case "/slow":
                await asyncio.get_running_loop().run_in_executor(None, self.go.wait, 10)
            case "/gone":
                await receive()
                try:
                    await send({"type": "websocket.accept"})
                except OSError as error:
                    self.raised.append(error)
                return
        headers = [(b"x-app", b"yes")]
        subprotocol = next(iter(scope["subprotocols"]), None)
        await send({"type": "websocket.accept", "subprotocol": subprotocol, "headers": headers})
        if scope["path"] == "/send":
            await send({"type": "websocket.send", "text": "through ASGI"})
        if scope["path"] != "/keep":
            self.hand_over(scope)

    def hand_over(self, scope: Any) -> None:
        wire = Echo(self.turns, self.seen, limit=65_536, bound=65_536).wire
        early = scope["extensions"][HAND_OVER](wire)
        if early:
            wire.data_received(early)

    @contextmanager
    def running(self) -> Iterator[None]:
        thread = threading.Thread(target=self.server.run)
        thread.start()
        try:
            assert self._up.wait(20)
            while not self.server.started:
                threading.Event().wait(0.01)
            self.port = self.server.servers[0].sockets[0].getsockname()[1]
            yield
        finally:
            self.server.should_exit = True
            thread.join(20)
        assert not thread.is_alive(), "the server did not stop"

    @contextmanager
    def client(self) -> Iterator[Raw]:
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as sock:
            yield Raw(sock)

    @contextmanager
    def open(self, path: str = "/ws", *headers: str) -> Iterator[Raw]:
        """A client whose handshake has been accepted."""
        with self.client() as client:
            client.send(request(path, *headers))
            head = client.head()
            assert head.startswith(b"HTTP/1.1 101 "), head
            yield client


def request(
    path: str = "/ws",
    *headers: str,
    method: str = "GET",
    key: str | None = KEY,
    version: str | None = "13",
    host: str = "example.org",
) -> bytes:
    """An upgrade request."""
    lines = [
        f"{method} {path} HTTP/1.1",
        f"Host: {host}",
        "Upgrade: websocket",
        "Connection: keep-alive, Upgrade",
        *([] if key is None else [f"Sec-WebSocket-Key: {key}"]),
        *([] if version is None else [f"Sec-WebSocket-Version: {version}"]),
        *headers,
        "",
        "",
    ]
    return "\r\n".join(lines).encode("latin-1")
