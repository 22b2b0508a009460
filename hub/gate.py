"""`WS /ws` and `WS /ws/{session_id}`: who may open one, and to what.

On the hub's own transport a handshake comes to `Gate`; through ASGI, from any other server, to
`door`. Both ask the same.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from hub.auth import SUBPROTOCOL, bearer, bearer_of_subprotocols
from hub.services import Services, services_in, services_of
from hub.transport.answer import Admitted
from hub.transport.head import Head
from hub.websocket import AsgiPipe, Socket, SocketWire

_ADDRESS: Final = re.compile(r"/ws(?:/([^/]+))?")


class Asked(NamedTuple):
    """What a handshake says, whoever has read it. `client` is the address that it comes from."""

    path: str
    query: str
    authorization: str | None
    subprotocols: Sequence[str]
    client: str

    def socket(self, services: Services) -> tuple[Socket, partial[None]] | None:
        """The socket that is asked for, and what to call once the client has been told; None
        where there is none at this address. A second part of the address subscribes by itself."""
        match = _ADDRESS.fullmatch(self.path)
        if match is None:
            return None
        said = dict(parse_qsl(self.query, keep_blank_values=True)) if self.query else {}
        credential = bearer(self.authorization) or bearer_of_subprotocols(self.subprotocols)
        socket = Socket(services, match[1], said.get("after"))
        return socket, partial(socket.begin, self.client, credential, said.get("token"))

    @property
    def subprotocol(self) -> str | None:
        """The one that is spoken, where it is offered."""
        return SUBPROTOCOL if SUBPROTOCOL in self.subprotocols else None


class Gate:
    """Decides on the handshakes of `app`; see `hub.transport.upgrade`. `trusted` are the proxies
    that are believed where a request comes from, as uvicorn's option has them."""

    def __init__(self, app: Starlette, trusted: str) -> None:
        self._app = app
        self._services: Services | None = None
        self._proxies: Any = ProxyHeadersMiddleware(_nothing, trusted)

    def admit(self, head: Head, peer: str) -> Admitted | None:
        """Foreign origins and unknown addresses are refused. Whose credential is not good is let
        in, to be told so by a close code, which browsers do not show of a refused handshake."""
        services = self._services = self._services or services_in(self._app)
        if services.origins.refusal(head.get("origin"), head.get("host")):
            return None
        client = self._client(head, peer)
        asked = Asked(
            head.path,
            head.query,
            head.get("authorization"),
            head.words("sec-websocket-protocol"),
            client,
        )
        found = asked.socket(services)
        if found is None:
            return None
        socket, begin = found
        socket.pipe = wire = SocketWire(
            socket,
            services.streams.turns,
            limit=services.settings.ws_message_bytes,
            bound=services.settings.unsent_bytes,
        )
        return Admitted(wire, begin, asked.subprotocol, client)

    def _client(self, head: Head, peer: str) -> str:
        said = head.all("x-forwarded-for")
        if not said:
            return peer
        headers = [(b"x-forwarded-for", value.encode("latin-1")) for value in said]
        scope = {"type": "websocket", "client": (peer, 0), "headers": headers}
        run_through(self._proxies(scope, None, None))
        return str(scope["client"][0])


def run_through(coroutine: Any) -> None:
    """Runs what has nothing to wait for."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    coroutine.close()
    raise RuntimeError("it waits for something")


async def _nothing(*_: Any) -> None:
    """What is behind the middleware: only what it finds out is wanted."""


async def door(scope: Scope, receive: Receive, send: Send) -> None:
    """The ASGI app. Foreign origins do not get this far."""
    websocket = WebSocket(scope, receive, send)
    asked = Asked(
        # Under a mount, `path` is the whole of it.
        scope["path"].removeprefix(scope.get("root_path", "")),
        scope["query_string"].decode("latin-1"),
        websocket.headers.get("authorization"),
        scope["subprotocols"],
        websocket.client.host if websocket.client else "",
    )
    found = asked.socket(services_of(websocket))
    if found is None:
        # Closed before it was accepted: the server answers the upgrade with 403.
        await send({"type": "websocket.close", "code": 1008, "reason": ""})
        return
    socket, begin = found
    try:
        await websocket.accept(asked.subprotocol)
    except WebSocketDisconnect:
        return
    await AsgiPipe(socket, websocket).run(begin)
