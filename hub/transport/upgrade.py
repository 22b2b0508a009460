"""The class for uvicorn's `ws=`: answers the handshake and hands the connection over.

The app sees an ordinary ASGI WebSocket whose scope has the extension `HAND_OVER`. It accepts or
refuses, and once it has accepted it calls the extension with a `Wire`; its task ends, and nothing
of the handshake stays in memory. Bytes that came in the upgrade request's own segment are dropped
by uvicorn; what comes after that and before the 101 is kept.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import logging
from http import HTTPStatus
from typing import Any, Final, cast
from urllib.parse import unquote

import uvicorn
from uvicorn.protocols.utils import (
    get_client_addr,
    get_local_addr,
    get_path_with_query_string,
    get_remote_addr,
    is_ssl,
)
from uvicorn.server import ServerState

from hub.transport.hand_over import HAND_OVER
from hub.transport.rfc6455 import close_frame
from hub.transport.wire import Wire

#: What may come before the app has accepted; past that the client is not read from.
EARLY_BYTES: Final = 64 * 1024

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_VERSION: Final = b"13"
#: Under this name uvicorn logs, and the hub takes tokens out of what it logs.
log = logging.getLogger("uvicorn.error")


def unfit(config: uvicorn.Config, server_state: ServerState) -> str:
    """Why this class cannot work with the uvicorn that is installed; empty when it can."""
    wanted = [
        (config, "load", "loaded", "root_path", "asgi_version"),
        (server_state, "connections", "tasks", "default_headers"),
    ]
    missing = [
        f"{type(holder).__name__}.{name}"
        for holder, *names in wanted
        for name in names
        # Some are properties that have no value yet.
        if name not in dir(holder)
    ]
    return f"uvicorn {uvicorn.__version__} has no " + ", ".join(missing) if missing else ""


class Upgrade(asyncio.Protocol):
    """One connection until its handshake is over."""

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        if not config.loaded:
            config.load()
        self._config = config
        self._app_state = app_state
        self._loop = _loop or asyncio.get_event_loop()
        self._connections: set[Any] = server_state.connections
        self._tasks = server_state.tasks
        self._default_headers = server_state.default_headers
        self._transport: asyncio.Transport
        self._scope: dict[str, Any] | None = None
        self._key = b""
        self._early = bytearray()
        self._gone = asyncio.Event()
        self._connect_told = False
        self._accepted = False
        #: Answered otherwise, or handed over: the connection is none of our business any more.
        self._done = False

    # ------------------------------------------------------------------ what uvicorn calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        self._done = True
        self._gone.set()

    def data_received(self, data: bytes) -> None:
        if self._done:
            return
        if self._scope is None:
            self._request(data)
            return
        self._early += data
        if len(self._early) > EARLY_BYTES:
            self._transport.pause_reading()

    def shutdown(self) -> None:
        """The server stops."""
        if not self._done:
            if self._accepted:
                self._transport.write(close_frame(1012))
                self._finish()
            else:
                self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR)

    # ------------------------------------------------------------------ the request

    def _request(self, data: bytes) -> None:
        # uvicorn has parsed the request, and writes it down anew for its WebSocket classes.
        first, *lines = data.partition(b"\r\n\r\n")[0].split(b"\r\n")
        headers: list[tuple[bytes, bytes]] = []
        for line in lines:
            name, _, value = line.partition(b":")
            headers.append((name.lower(), value.strip()))
        method, _, rest = first.partition(b" ")
        target = rest.rpartition(b" ")[0]
        keys = [value for name, value in headers if name == b"sec-websocket-key"]
        versions = [value for name, value in headers if name == b"sec-websocket-version"]
        if method != b"GET" or not target.startswith(b"/") or not target.isascii():
            self._refuse(HTTPStatus.BAD_REQUEST)
        elif versions != [_VERSION]:
            self._refuse(HTTPStatus.UPGRADE_REQUIRED, ((b"sec-websocket-version", _VERSION),))
        elif len(keys) != 1 or not _is_key(keys[0]):
            self._refuse(HTTPStatus.BAD_REQUEST)
        else:
            self._key = keys[0]
            self._scope = self._scope_of(target, headers)
            task = self._loop.create_task(self._run(self._scope))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _scope_of(self, target: bytes, headers: list[tuple[bytes, bytes]]) -> dict[str, Any]:
        raw_path, _, query = target.partition(b"?")
        root = self._config.root_path
        offered = [
            word.strip().decode("latin-1")
            for name, value in headers
            if name == b"sec-websocket-protocol"
            for word in value.split(b",")
        ]
        return {
            "type": "websocket",
            "asgi": {"version": self._config.asgi_version, "spec_version": "2.4"},
            "http_version": "1.1",
            "scheme": "wss" if is_ssl(self._transport) else "ws",
            "server": get_local_addr(self._transport),
            "client": get_remote_addr(self._transport),
            "root_path": root,
            "path": root + unquote(raw_path.decode()),
            "raw_path": root.encode() + raw_path,
            "query_string": query,
            "headers": headers,
            "subprotocols": offered,
            "state": self._app_state.copy(),
            "extensions": {HAND_OVER: self._hand_over},
        }

    # ------------------------------------------------------------------ the app

    async def _run(self, scope: dict[str, Any]) -> None:
        if self._transport.get_protocol() is not self:
            # An eager task runs inside `data_received`, before uvicorn has set us as protocol.
            await asyncio.sleep(0)
        app: Any = self._config.loaded_app
        try:
            await app(scope, self._receive, self._send)
        except Exception:
            log.exception("Exception in ASGI application\n")
        if self._done:
            return
        if self._accepted:
            log.error("the app accepted a WebSocket and did not take it over")
            self._transport.write(close_frame(1011))
            self._finish()
        else:
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR)

    async def _receive(self) -> dict[str, Any]:
        if not self._connect_told:
            self._connect_told = True
            return {"type": "websocket.connect"}
        await self._gone.wait()
        return {"type": "websocket.disconnect", "code": 1006}

    async def _send(self, message: Any) -> None:
        kind = message["type"]
        if self._done:
            # What ASGI says of a client that is gone.
            raise OSError("the connection is closed")
        if kind == "websocket.accept" and not self._accepted:
            self._accept(message)
        elif kind == "websocket.close" and not self._accepted:
            self._log("403")
            self._refuse(HTTPStatus.FORBIDDEN)
        else:
            raise RuntimeError(f"{kind} is not for this connection: hand it over once accepted")

    def _accept(self, message: Any) -> None:
        accept = base64.b64encode(hashlib.sha1(self._key + _GUID, usedforsecurity=False).digest())
        headers = [*self._default_headers, *message.get("headers", [])]
        subprotocol = message.get("subprotocol")
        if subprotocol:
            headers.append((b"sec-websocket-protocol", subprotocol.encode("latin-1")))
        self._log("[accepted]")
        self._accepted = True
        self._transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
            b"sec-websocket-accept: %b\r\n%b\r\n" % (accept, _lines(headers))
        )

    def _hand_over(self, wire: Wire) -> bytes | None:
        if self._done or self._transport.is_closing():
            return None
        if not self._accepted:
            raise RuntimeError("accept before handing over")
        self._done = True
        self._connections.discard(self)
        wire.open(self._transport, self._connections)
        if len(self._early) > EARLY_BYTES:
            self._transport.resume_reading()
        return bytes(self._early)

    # ------------------------------------------------------------------ other ends

    def _refuse(self, status: HTTPStatus, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        said = [*self._default_headers, *headers, (b"content-length", b"0")]
        self._transport.write(
            b"HTTP/1.1 %d %b\r\nconnection: close\r\n%b\r\n"
            % (status, status.phrase.encode(), _lines(said))
        )
        self._finish()

    def _finish(self) -> None:
        self._done = True
        self._gone.set()
        self._transport.close()

    def _log(self, outcome: str) -> None:
        if self._scope is not None and log.isEnabledFor(logging.INFO):
            scope: Any = self._scope
            log.info(
                '%s - "WebSocket %s" %s',
                get_client_addr(scope),
                get_path_with_query_string(scope),
                outcome,
            )


def _lines(headers: list[tuple[bytes, bytes]]) -> bytes:
    return b"".join([b"%b: %b\r\n" % header for header in headers])


def _is_key(key: bytes) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except binascii.Error:
        return False
