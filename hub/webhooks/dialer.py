"""Dials for webhooks: resolves a name once, vets every answer, connects by address.

The caller's origin keeps the name, so that Host, SNI and the check of the certificate are those
of the name, and the connection is to an address that was vetted: there is no second lookup for a
rebinding name to answer otherwise.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import httpcore2

from hub.webhooks.guard import Network, vet

#: Host and port to addresses as text, best first. Raises OSError when there is none.
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

#: How many lookups run at once. A lookup cannot be interrupted: one that hangs keeps its thread
#: until the resolver gives up, and what finds no thread waits within the time of its own try.
LOOKUP_THREADS: Final = 64
#: How many addresses of a name are tried, and for how many seconds each, so that one that
#: answers nothing leaves time for the next.
ADDRESSES: Final = 4
CONNECT_SECONDS: Final = 5.0


class Resolver:
    """The system's resolver, on threads of its own: the loop's are few (uvloop's are four), and
    a customer's slow name server must not hold up anything else."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(LOOKUP_THREADS, thread_name_prefix="webhook-lookup")

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, _lookup, host, port)

    def close(self) -> None:
        """Gives up the threads; what still hangs in one is not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _lookup(host: str, port: int) -> list[str]:
    answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(sockaddr[0]) for _, _, _, _, sockaddr in answers]


class GuardedBackend(httpcore2.AsyncNetworkBackend):
    """The network of the webhooks' connection pool.

    `connect_tcp` raises `guard.Refused` for a name with an address that may not be dialled, and
    httpcore2's ConnectError or ConnectTimeout when none of its addresses can be reached."""

    def __init__(
        self,
        allow_nets: Iterable[Network],
        resolve: Resolve,
        network: httpcore2.AsyncNetworkBackend | None = None,
    ) -> None:
        self._allow_nets = tuple(allow_nets)
        self._resolve = resolve
        self._network = httpcore2.AnyIOBackend() if network is None else network

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        try:
            answers = await self._resolve(host, port)
        except OSError as error:
            raise httpcore2.ConnectError(f"{host} does not resolve: {error}") from error
        failure: Exception = httpcore2.ConnectError(f"{host} has no address")
        for address in vet(answers, self._allow_nets)[:ADDRESSES]:
            try:
                return await self._network.connect_tcp(
                    str(address),
                    port,
                    timeout=CONNECT_SECONDS if timeout is None else min(timeout, CONNECT_SECONDS),
                    local_address=local_address,
                    socket_options=socket_options,
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        raise failure

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        raise httpcore2.ConnectError("webhooks do not go to Unix sockets")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
