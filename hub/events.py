"""What is published, and how it is read without decoding any JSON.

A publication is one header line, a newline, and the event's JSON, all made by the script that
changed the state. Fields of the header are separated by one space:

    L <cursor> <previous cursor> <job id or -> <rev or 0>     lifecycle
    P <job id or message id> <rev or 0>                       progress
    G <job id> <first line> <last line>                       log
    X -                                                       the session was deleted

A stream entry of `events:<session>` has the cursor as its id and the fields `h` (the same
header) and `e` (the same JSON).
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from hub.states import STATUSES

LIFECYCLE_TYPES: Final[frozenset[str]] = frozenset(
    [f"job.{status}" for status in STATUSES] + ["message.user", "message.agent"]
)

#: What a webhook gets that names no types.
WEBHOOK_DEFAULT_TYPES: Final = (
    "job.completed",
    "job.failed",
    "job.cancelled",
    "job.input_required",
)

#: The cursor of a session without events.
ZERO: Final = b"0-0"


class Publication(NamedTuple):
    """One thing that was published about a session.

    `kind` is L, P, G or X as in the header. `cursor` and `prev` are for L only. `key` is the job
    or message id (`-` for none). `rev` is for L and P; `first` and `last` are log lines (G)."""

    kind: Literal["L", "P", "G", "X"]
    body: bytes
    cursor: bytes = b""
    prev: bytes = b""
    key: bytes = b"-"
    rev: int = 0
    first: int = 0
    last: int = 0


_new: Final = tuple.__new__


def parse(data: bytes) -> Publication:
    """Reads a publication. Raises ValueError when it is not one."""
    head, newline, body = data.partition(b"\n")
    if not newline:
        raise ValueError(f"a publication without a header: {data[:80]!r}")
    return parse_header(head, body)


def parse_header(head: bytes, body: bytes) -> Publication:
    """Reads a header that stands apart from its body, as in a stream entry (`h`, `e`)."""
    match head.split(b" "):
        case [b"L", cursor, prev, key, rev]:
            # Past the constructor, whose keywords cost more than the rest of this function.
            return _new(Publication, ("L", body, cursor, prev, key, int(rev), 0, 0))
        case [b"P", key, rev]:
            return Publication("P", body, key=key, rev=int(rev))
        case [b"G", key, first, last]:
            return Publication("G", body, key=key, first=int(first), last=int(last))
        case [b"X", *_]:
            return Publication("X", body)
    raise ValueError(f"not a publication's header: {head[:80]!r}")


def seq(cursor: bytes) -> int:
    """The sequence number of a cursor. Raises ValueError when it is not a cursor."""
    number, dash, nonce = cursor.partition(b"-")
    if not (dash and number.isdigit() and nonce.isdigit()) or len(cursor) > 40:
        raise ValueError(f"not a cursor: {cursor[:80]!r}")
    return int(number)
