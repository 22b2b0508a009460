"""uvicorn with the hub's classes, in a thread, and a gate for every way that a handshake ends."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal, cast

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from hub.transport.answer import Admitted
from hub.transport.head import Head
from hub.transport.turns import Turns
from hub.transport.upgrade import Arrival, Upgrade
from tests.integration.transport.raw import Echo, Raw

#: The key of RFC 6455 §1.3, and what must come back for it.
KEY, ACCEPT = "dGhlIHNhbXBsZSBub25jZQ==", b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
PLAIN: dict[str, Any] = {"h11": H11Protocol, "httptools": HttpToolsProtocol}


class Hosted:
    """`seen` are the words of the wires' owners, `heads` what the gate was asked."""

    def __init__(self, http: Literal["h11", "httptools"], loop: Literal["asyncio", "uvloop"]):
        self.seen: list[str] = []
        self.heads: list[Head] = []
        self.port = 0
        self.turns = Turns()
        self._up = threading.Event()
        self.server = uvicorn.Server(
            uvicorn.Config(
                self.app,
                host="127.0.0.1",
                port=0,
                interface="asgi3",
                http=cast(Any, partial(Arrival, self, plain=PLAIN[http])),
                loop=loop,
                ws=cast(Any, partial(Upgrade, self)),
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
        else:
            assert scope["type"] == "http", "upgrades go to the gate"
            body = scope["path"].encode()
            length = [(b"content-length", b"%d" % len(body))]
            await send({"type": "http.response.start", "status": 200, "headers": length})
            await send({"type": "http.response.body", "body": body})

    def admit(self, head: Head, peer: str) -> Admitted | None:
        assert peer == "127.0.0.1"
        self.heads.append(head)
        if head.path == "/refuse":
            return None
        if head.path == "/raise":
            raise RuntimeError("not today")
        wire = Echo(self.turns, self.seen, limit=65_536, bound=65_536).wire
        subprotocol = next(iter(head.words("sec-websocket-protocol")), None)
        return Admitted(wire, partial(self._begin, head), subprotocol, peer)

    def _begin(self, head: Head) -> None:
        self.seen.append("begun")
        if head.path == "/fail":
            raise RuntimeError("not now")

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
