"""A hub that runs in the test's own loop, on a port of its own."""

from __future__ import annotations

import asyncio
import dataclasses
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2

from hub.server import Server
from hub.services import Services
from hub.settings import Settings

#: For clients without TLS, who would read all of the system's roots for nothing.
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def http_client(
    url: str, headers: dict[str, str] | None = None, timeout: float = 60
) -> httpx2.AsyncClient:
    """An HTTP client of what serves without TLS."""
    return httpx2.AsyncClient(base_url=url, headers=headers, timeout=timeout, verify=NO_TLS)


@dataclasses.dataclass
class Hub:
    """`client` speaks for an API key; `url` is the hub's address."""

    server: Server
    url: str
    client: httpx2.AsyncClient
    settings: Settings

    @property
    def services(self) -> Services:
        found: Services = self.server.app.state.services
        return found

    def token(
        self,
        *sessions: str,
        scope: str = "read cancel enqueue input approve",
        sub: str = "user",
        ttl: float = 600,
        **more: Any,
    ) -> str:
        """A token for these sessions (`s1` unless said)."""
        return self.services.auth.mint(sub, sessions or ("s1",), scope, ttl, **more).token

    @asynccontextmanager
    async def as_(self, token: str | None, **headers: str) -> AsyncIterator[httpx2.AsyncClient]:
        """A client that speaks for a token, or for nobody."""
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        async with http_client(self.url, headers) as client:
            yield client


@asynccontextmanager
async def running(settings: Settings, api_key: str, *, fast: bool = True) -> AsyncIterator[Hub]:
    """Serves until the context ends; then drains and stops. `fast` is whether WebSockets are
    served on their transports, or through ASGI."""
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    server = Server(settings, ready=ready.set_result, fast=fast)
    async with asyncio.TaskGroup() as group:
        # A server that cannot start ends the group, and so the wait for its address.
        group.create_task(server.serve())
        async with asyncio.timeout(60):
            url = await ready
        try:
            headers = {"Authorization": f"Bearer {api_key}"}
            async with http_client(url, headers) as client:
                yield Hub(server, url, client, settings)
        finally:
            server.should_exit = True
