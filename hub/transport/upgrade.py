"""The classes for uvicorn's `http=` and `ws=`: they answer handshakes, and hand connections over.

`Arrival` looks at what a connection says first. A plain upgrade request is answered right there;
everything else is uvicorn's, which calls `Upgrade` for the upgrades among it: those of a later
request, and those that came in pieces. Who may come in is for a `Gate` to say, and no task, no
ASGI and nothing of the handshake stays in memory.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, cast

import uvicorn
from uvicorn.protocols.http.auto import AutoHTTPProtocol
from uvicorn.server import ServerState

from hub.transport.answer import Gate, answer
from hub.transport.head import Head, plain_upgrade

#: What may come behind a request before it is answered; past that the client is not read from.
EARLY_BYTES: Final = 64 * 1024


def unfit(config: uvicorn.Config, server_state: ServerState) -> str:
    """Why these classes cannot work with the uvicorn that is installed; empty when they can."""
    wanted = [
        (config, "http", "ws"),
        (server_state, "connections", "default_headers"),
    ]
    missing = [
        f"{type(holder).__name__}.{name}"
        for holder, *names in wanted
        for name in names
        # Some are properties that have no value yet.
        if name not in dir(holder)
    ]
    return f"uvicorn {uvicorn.__version__} has no " + ", ".join(missing) if missing else ""


class Arrival(asyncio.Protocol):
    """A connection that has not said anything. Bind `gate`, and hand the rest to uvicorn; `plain`
    is its own class."""

    __slots__ = ("_gate", "_more", "_plain", "_state", "_transport")

    def __init__(
        self,
        gate: Gate,
        *,
        server_state: ServerState,
        plain: Any = AutoHTTPProtocol,
        **more: Any,
    ) -> None:
        self._gate = gate
        self._state = server_state
        self._plain = plain
        self._more = more
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._state.connections.add(cast(Any, self))

    def connection_lost(self, exc: Exception | None) -> None:
        self._state.connections.discard(cast(Any, self))

    def eof_received(self) -> None:
        """It is closed without an answer: nothing was asked."""

    def data_received(self, data: bytes) -> None:
        transport = self._transport
        self._state.connections.discard(cast(Any, self))
        found = plain_upgrade(data)
        if found is None:
            protocol = self._plain(server_state=self._state, **self._more)
            transport.set_protocol(protocol)
            protocol.connection_made(transport)
            protocol.data_received(data)
        else:
            answer(transport, self._gate, self._state, *found)

    def shutdown(self) -> None:
        """The server stops."""
        self._transport.close()


class Upgrade(asyncio.Protocol):
    """A connection on which uvicorn has found an upgrade request. Bind `gate`."""

    __slots__ = ("_early", "_gate", "_head", "_loop", "_state", "_transport")

    def __init__(
        self,
        gate: Gate,
        *,
        server_state: ServerState,
        _loop: asyncio.AbstractEventLoop | None = None,
        **_: Any,
    ) -> None:
        self._gate = gate
        self._state = server_state
        self._loop = _loop or asyncio.get_event_loop()
        self._transport: asyncio.Transport
        self._head: Head | None = None
        self._early = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._state.connections.add(cast(Any, self))

    def connection_lost(self, exc: Exception | None) -> None:
        self._state.connections.discard(cast(Any, self))

    def data_received(self, data: bytes) -> None:
        if self._head is not None:
            self._early += data
            if len(self._early) > EARLY_BYTES:
                self._transport.pause_reading()
            return
        # uvicorn has parsed the request, and writes it down anew for its WebSocket classes.
        self._head = Head(data.removesuffix(b"\r\n\r\n"))
        # It sets us as the protocol after this call, and so would take the connection back.
        self._loop.call_soon(self._answer, self._head)

    def _answer(self, head: Head) -> None:
        self._state.connections.discard(cast(Any, self))
        if self._transport.is_closing():
            return
        if len(self._early) > EARLY_BYTES:
            self._transport.resume_reading()
        answer(self._transport, self._gate, self._state, head, bytes(self._early))

    def shutdown(self) -> None:
        """The server stops."""
        self._transport.close()
