"""The answer to a handshake (RFC 6455 §4.2.2)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, NamedTuple, Protocol

from hub.transport.head import VERSION, Head
from hub.transport.wire import Wire

#: Under this name uvicorn logs, and the hub takes tokens out of what it logs.
log = logging.getLogger("uvicorn.error")


class Admitted(NamedTuple):
    """Who gets the connection, and what is called once it is open and the client knows. `client` is
    its address, for the log."""

    wire: Wire
    begin: Callable[[], None]
    subprotocol: str | None
    client: str


class Gate(Protocol):
    """Says who may come in."""

    def admit(self, head: Head, peer: str) -> Admitted | None:
        """Whether a well-formed handshake from this address gets a connection. Must not block."""
        ...


class State(Protocol):
    """What a server knows for all its connections."""

    @property
    def connections(self) -> set[Any]: ...

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]: ...


def answer(
    transport: asyncio.Transport, gate: Gate, state: State, head: Head, early: bytes
) -> None:
    """Answers a handshake (RFC 6455 §4.2.2); `early` is what the client has sent behind it."""
    accept = head.accept
    if head.method != "GET" or head.target[:1] != "/" or not head.target.isascii():
        refuse(transport, state, HTTPStatus.BAD_REQUEST)
    elif head.all("sec-websocket-version") != [VERSION]:
        spoken = f"sec-websocket-version: {VERSION}\r\n"
        refuse(transport, state, HTTPStatus.UPGRADE_REQUIRED, spoken)
    elif accept is None:
        refuse(transport, state, HTTPStatus.BAD_REQUEST)
    else:
        _admit(transport, gate, state, head, accept, early)


def _admit(
    transport: asyncio.Transport,
    gate: Gate,
    state: State,
    head: Head,
    accept: str,
    early: bytes,
) -> None:
    peer = transport.get_extra_info("peername")
    address = peer[0] if isinstance(peer, tuple) else ""
    try:
        admitted = gate.admit(head, address)
    except Exception:
        log.exception("cannot decide on a WebSocket")
        refuse(transport, state, HTTPStatus.INTERNAL_SERVER_ERROR)
        return
    if admitted is None:
        log.info('%s - "WebSocket %s" 403', address, head.target)
        refuse(transport, state, HTTPStatus.FORBIDDEN)
        return
    log.info('%s - "WebSocket %s" [accepted]', admitted.client, head.target)
    said = (
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
        f"sec-websocket-accept: {accept}\r\n"
    )
    if admitted.subprotocol:
        said += f"sec-websocket-protocol: {admitted.subprotocol}\r\n"
    transport.write(said.encode() + _defaults(state))
    wire = admitted.wire
    wire.open(transport, state.connections)
    try:
        admitted.begin()
        if early:
            wire.data_received(early)
    except Exception:
        log.exception("cannot begin a WebSocket")
        wire.cut()


def refuse(
    transport: asyncio.Transport, state: State, status: HTTPStatus, headers: str = ""
) -> None:
    """Answers that it is not to be, and closes."""
    said = (
        f"HTTP/1.1 {status} {status.phrase}\r\nconnection: close\r\n{headers}content-length: 0\r\n"
    )
    transport.write(said.encode() + _defaults(state))
    transport.close()


def _defaults(state: State) -> bytes:
    """The headers that uvicorn gives every answer, and the head's end."""
    return b"".join([b"%b: %b\r\n" % header for header in state.default_headers]) + b"\r\n"
