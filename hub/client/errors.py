"""What a client raises, beside what the hub says (`hub.errors`).

JobcastError
├── Unreachable              no answer: refused, cut, too slow, no such host, no valid certificate
├── Unexpected               an answer that is none of a hub's, or its own failure (500)
├── NotInTime                (and TimeoutError) the job had not ended when the wait was over
├── BadInput                 400, 413, 415, 422; close code 4400
├── NotFound                 404
│   └── SessionDeleted       close code 4410
├── Conflict                 409
├── Unauthenticated          401; close code 4401
├── Refused                  403; close code 4403
└── Busy                     503
    └── TooMany              429
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from hub import codes
from hub.errors import (
    BadInput,
    Busy,
    Conflict,
    JobcastError,
    NotFound,
    Refused,
    TooMany,
    Unauthenticated,
)
from hub.problems import MEDIA_TYPE, Problem

_TEXT_CHARS: Final = 300
#: How long to stay away, in seconds, from a hub that is busy and does not say for how long.
BUSY_SECONDS: Final = 1.0


class Unreachable(JobcastError):
    """The hub did not answer. `sent` is False where the request cannot have reached it."""

    def __init__(self, message: str, *, sent: bool = True) -> None:
        self.sent = sent
        super().__init__(message)


class Unexpected(JobcastError):
    """Whatever answered is not a hub, or a hub in trouble. `status` is the HTTP status, or the
    close code of a WebSocket."""

    def __init__(self, message: str, status: int) -> None:
        self.status = status
        super().__init__(message)


class NotInTime(JobcastError, TimeoutError):
    """The job had not ended in the time given."""


class SessionDeleted(NotFound):
    """The session that was followed was deleted."""


_OF_STATUS: Final[Mapping[int, Callable[[str], JobcastError]]] = {
    401: Unauthenticated,
    403: Refused,
    404: NotFound,
    409: Conflict,
}


def error_of(status: int, headers: Mapping[str, str], body: bytes) -> JobcastError:
    """The error that an answer of HTTP stands for. `headers` have lower-case names."""
    if headers.get("content-type", "").partition(";")[0].strip() != MEDIA_TYPE:
        text = " ".join(body[:_TEXT_CHARS].decode(errors="replace").split())
        return Unexpected(
            f"it answered {status}, and not as a Jobcast hub does: check the URL. {text}".strip(),
            status,
        )
    try:
        found = msgspec.json.decode(body, type=Problem)
    except msgspec.MsgspecError:
        return Unexpected(f"it answered {status} with a problem that cannot be read", status)
    text = found.detail or found.title
    if status in (400, 413, 415, 422):
        return BadInput([(e.pointer, e.detail) for e in found.errors] or [("", text)])
    if (kind := _OF_STATUS.get(status)) is not None:
        return kind(text)
    if status in (429, 503):
        after = retry_after(headers)
        return (TooMany if status == 429 else Busy)(text, BUSY_SECONDS if after is None else after)
    return Unexpected(text, status)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds of a `Retry-After` header (a hub sends no dates), where there is one."""
    text = headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdigit() else None


def error_of_close(code: int, reason: str) -> JobcastError | None:
    """The error that a WebSocket's close code stands for; None: come back and resume."""
    match code:
        case codes.UNAUTHENTICATED:
            return Unauthenticated(reason or "The token has expired.")
        case codes.FORBIDDEN:
            return Refused(reason or "The token does not cover this session.")
        case codes.DELETED:
            return SessionDeleted(reason or "The session was deleted.")
        case codes.TOO_BIG:
            return Unexpected("an event was larger than a client takes", code)
    if 4400 <= code <= 4499:
        return BadInput([("", reason or f"closed with code {code}")])
    return None
