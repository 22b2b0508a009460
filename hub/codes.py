"""Close codes of WebSockets, which `error` and `goodbye` frames carry too."""

from __future__ import annotations

from typing import Final

#: The hub goes away; come back after `reconnect_after`.
GOING_AWAY: Final = 1001
#: A message is larger than it may be (RFC 6455); servers close with it by themselves.
TOO_BIG: Final = 1009
# 4000–4099: come back and resume.
TOO_SLOW: Final = 4008
RESYNC: Final = 4009
TOO_MANY: Final = 4010
# 4400–4499: do not come back before the cause is mended.
BAD_MESSAGE: Final = 4400
UNAUTHENTICATED: Final = 4401
FORBIDDEN: Final = 4403
DELETED: Final = 4410


_OF_STATUS: Final = {400: BAD_MESSAGE, 422: BAD_MESSAGE, 429: TOO_MANY}


def of_status(status: int) -> int:
    """The code of an `error` frame about something that HTTP would refuse with `status`: 4xxx
    with that status where none stands for it, and one to come back from for what passes."""
    return _OF_STATUS.get(status, RESYNC if status >= 500 else 4000 + status)


def comes_back(code: int) -> bool:
    """Whether a client that is closed with this code should come back by itself."""
    return code == GOING_AWAY or 4000 <= code <= 4099
