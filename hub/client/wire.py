"""What both drivers, the async and the blocking one, know of httpcore2 and websockets."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import httpcore2
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from hub.client.address import Address
from hub.client.call import Reply, Request
from hub.client.errors import Unreachable
from hub.client.subscription import MAX_FRAME, Dropped, Subscription

CONNECT_SECONDS: Final = 10.0
#: How long a closing handshake may take: a hub that is gone does not answer one.
CLOSE_SECONDS: Final = 1.0

_BEFORE_SENDING: Final = (httpcore2.ConnectError, httpcore2.ConnectTimeout, httpcore2.PoolTimeout)
HTTP_FAILURES: Final = (
    httpcore2.NetworkError,
    httpcore2.TimeoutException,
    httpcore2.ProtocolError,
    httpcore2.ProxyError,
    OSError,
)
SOCKET_FAILURES: Final = (WebSocketException, OSError, TimeoutError, Dropped)


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


def socket_options(
    address: Address, credential: str | None, ssl_context: ssl.SSLContext | None
) -> Mapping[str, Any]:
    """Keywords of websockets' `connect`."""
    return {
        "additional_headers": {}
        if credential is None
        else {"Authorization": f"Bearer {credential}"},
        "user_agent_header": "jobcast-python",
        "proxy": address.proxy,
        "ssl": ssl_context if address.secure else None,
        "open_timeout": CONNECT_SECONDS,
        "close_timeout": CLOSE_SECONDS,
        "max_size": MAX_FRAME,
    }


def wait_after(subscription: Subscription, error: Exception) -> Lost:
    """When a subscription that lost its connection comes back. Raises where that is no use."""
    if isinstance(error, ConnectionClosed):
        close = error.rcvd or error.sent
        code, reason = (close.code, close.reason) if close else (None, "")
        return Lost(reason or "the connection was closed", subscription.lost(code, reason))
    if isinstance(error, InvalidStatus):
        status = error.response.status_code
        return Lost(f"the hub answered {status}", subscription.refused(status))
    return Lost(str(error).strip() or "the hub is silent", subscription.lost())
