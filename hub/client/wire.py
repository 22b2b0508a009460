"""What both drivers, the async and the blocking one, know of httpcore2."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import httpcore2

from hub.client.address import Address
from hub.client.call import Reply, Request
from hub.client.errors import Unreachable

CONNECT_SECONDS: Final = 10.0

_BEFORE_SENDING: Final = (httpcore2.ConnectError, httpcore2.ConnectTimeout, httpcore2.PoolTimeout)
HTTP_FAILURES: Final = (
    httpcore2.NetworkError,
    httpcore2.TimeoutException,
    httpcore2.ProtocolError,
    httpcore2.ProxyError,
    OSError,
)


class Lost(NamedTuple):
    """A subscription has no connection now; the next try is in `retry_in` seconds."""

    reason: str
    retry_in: float


OnLost = Callable[[Lost], None]


def pool_options(address: Address, ssl_context: ssl.SSLContext | None) -> dict[str, Any]:
    """Keywords of a connection pool."""
    return {
        "ssl_context": ssl_context,
        "proxy": None if address.proxy is None else httpcore2.Proxy(address.proxy),
        "max_connections": 32,
        "keepalive_expiry": 20.0,
        "retries": 0,
    }


def request_options(request: Request, credential: str | None) -> dict[str, Any]:
    """Keywords of a pool's `request`."""
    headers = {"Accept": "application/json", "User-Agent": "jobcast-python", **request.headers}
    if credential is not None:
        headers["Authorization"] = f"Bearer {credential}"
    seconds = dict.fromkeys(("read", "write", "pool"), request.timeout)
    return {
        "headers": list(headers.items()),
        "content": request.body,
        "extensions": {"timeout": {"connect": CONNECT_SECONDS, **seconds}},
    }


def reply_of(response: httpcore2.Response) -> Reply:
    """The answer, once it has been read."""
    headers = {
        name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers
    }
    return Reply(response.status, headers, response.content)


def unreachable(address: Address, error: Exception) -> Unreachable:
    """What a failed request is to the caller."""
    why = str(error).strip() or type(error).__name__
    return Unreachable(
        f"No answer from {address.http}: {why}.", sent=not isinstance(error, _BEFORE_SENDING)
    )
