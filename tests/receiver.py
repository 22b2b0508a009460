"""A webhook's endpoint for tests: a real server that notes what it saw, and a fake resolver."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trustme


@dataclass
class Request:
    """What the server saw: header names in lower case, SNI, and the address dialled."""

    line: str
    headers: dict[str, str]
    body: bytes
    sni: str | None
    local: str


@dataclass
class Server:
    """A server that answers every request with `reply`; over TLS if it has an authority."""

    port: int = 0
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    arrived: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def ids(self) -> list[str]:
        """The webhook-id of every request, in their order."""
        return [request.headers["webhook-id"] for request in self.requests]

    async def got(self, count: int) -> None:
        """Returns once there were `count` requests; fails the test when they do not come."""
        async with self.arrived:
            try:
                async with asyncio.timeout(60):
                    await self.arrived.wait_for(lambda: len(self.requests) >= count)
            except TimeoutError:
                raise AssertionError(f"{len(self.requests)} of {count} requests came") from None


Reply = Callable[[asyncio.StreamWriter], Awaitable[None]]


def answer(status: str, *headers: str, body: bytes = b"") -> Reply:
    """A whole answer, such as `answer("503 Later", "Retry-After: 5")`."""

    async def reply(writer: asyncio.StreamWriter) -> None:
        head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
        writer.write("\r\n".join(head).encode() + body)
        await writer.drain()

    return reply


@asynccontextmanager
async def serving(
    authority: trustme.CA | None, reply: Reply, *, name: str = "hooks.example.com"
) -> AsyncIterator[Server]:
    """Serves until the end of the block; with an authority over TLS, as `name`."""
    server = Server()
    seen_sni: list[str | None] = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                line, *rest = head.rstrip().split("\r\n")
                pairs = (item.split(": ", 1) for item in rest)
                headers = {key.lower(): value for key, value in pairs}
                body = await reader.readexactly(int(headers["content-length"]))
                local = writer.get_extra_info("sockname")[0]
                sni = seen_sni[-1] if seen_sni else None
                server.requests.append(Request(line, headers, body, sni, local))
                async with server.arrived:
                    server.arrived.notify_all()
                await reply(writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            server.closed.set()
            writer.close()

    context: ssl.SSLContext | None = None
    if authority is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(name).configure_cert(context)
        context.sni_callback = lambda _socket, sni, _context: seen_sni.append(sni)
    listener = await asyncio.start_server(connected, "0.0.0.0", 0, ssl=context)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()


@dataclass
class Names:
    """A resolver with fixed answers, one list after the other; the last one repeats."""

    answers: list[Sequence[str]]
    asked: list[tuple[str, int]] = field(default_factory=list)

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append((host, port))
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
