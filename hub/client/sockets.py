"""What both drivers know of websockets. Imported by who subscribes."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any, Final

from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from hub.client.address import Address
from hub.client.subscription import MAX_FRAME, Dropped, Subscription
from hub.client.wire import CONNECT_SECONDS, Lost

#: How long a closing handshake may take: a hub that is gone does not answer one.
CLOSE_SECONDS: Final = 1.0
SOCKET_FAILURES: Final = (WebSocketException, OSError, TimeoutError, Dropped)


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
