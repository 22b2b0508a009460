"""What an app and a server that can give its connection away have to agree on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from hub.transport.wire import Wire

#: The extension's name in a WebSocket's `scope["extensions"]`.
HAND_OVER: Final = "jobcast.hand_over"

#: The extension. Called once the app has accepted, it gives the connection to the wire and
#: returns what the client has sent already, for `wire.data_received`; None when the client is
#: gone, and the wire will hear nothing. Raises RuntimeError before the app has accepted.
HandOver = Callable[[Wire], bytes | None]
