"""A call of the HTTP API without its I/O: a generator of steps, which a driver takes.

A driver sends requests, sleeps and asks for credentials, and sends back what came of it; what is
asked, how often, and what the answer means is decided here, once for all drivers.
"""

from __future__ import annotations

import random
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from hub.client.errors import Unexpected, Unreachable, error_of
from hub.errors import Busy, JobcastError

T = TypeVar("T")

#: How often a request is sent, at most, where nothing or only "busy" is answered: long enough,
#: with the waits in between, for a hub to be started again.
TRIES: Final = 8
#: The upper bound of the first wait between two tries, and of any, in seconds: full jitter.
FIRST_WAIT: Final = 0.25
LONGEST_WAIT: Final = 20.0
#: A hub that is busy for longer than this is told of at once, in seconds.
PATIENCE: Final = 10.0
TIMEOUT: Final = 30.0


@dataclass(frozen=True, slots=True)
class Request:
    """A request to be sent; `target` is a path, and a query, below the hub's address. `timeout`
    is how long an answer may take, in seconds."""

    method: str
    target: str
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout: float = TIMEOUT


class Reply(NamedTuple):
    """What was answered; `headers` have lower-case names."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Pause(NamedTuple):
    """Sleep for so many seconds."""

    seconds: float


class Again(NamedTuple):
    """A request failed so many times now, and may be sent again after a sleep. A driver that has
    enough throws the error in."""

    error: JobcastError
    failures: int
    seconds: float


class Renew(NamedTuple):
    """The credential was refused: get another. The driver sends back whether there is one."""


Step = Request | Pause | Again | Renew
#: Yields steps, is sent a Reply, None or a bool, and returns what was asked for. A request that
#: gets no answer is answered by throwing Unreachable into it.
Script = Generator[Step, Any, T]


def backoff(failures: int, first: float = FIRST_WAIT) -> float:
    """Seconds to wait after so many failures in a row (1 and up): full jitter."""
    bound: float = min(LONGEST_WAIT, first * 2 ** min(failures - 1, 16))
    return random.uniform(0, bound)


def seg(part: str) -> str:
    """One segment of a path."""
    return quote(part, safe="")


def target(path: str, query: Mapping[str, Any] | None = None) -> str:
    """A path with the members of the query that are not None."""
    given = {name: value for name, value in (query or {}).items() if value is not None}
    return f"{path}?{urlencode(given)}" if given else path


def request_json(method: str, path: str, body: Any, headers: Mapping[str, str] = {}) -> Request:
    """A request whose body is JSON."""
    sent = {"Content-Type": "application/json", **headers}
    return Request(method, path, msgspec.json.encode(body), sent)


def exchange(request: Request, *, repeatable: bool = True) -> Script[Reply]:
    """Sends a request until it is answered or the driver has enough: again when it cannot have
    arrived or is `repeatable`, when the hub says that it is busy, and once with a fresh
    credential. Raises what `hub.client.errors` says."""
    failures, renewed = 0, False
    while True:
        try:
            reply: Reply = yield request
        except Unreachable as error:
            failures += 1
            if error.sent and not repeatable:
                raise
            yield Again(error, failures, backoff(failures))
            continue
        if reply.status < 300:
            return reply
        if reply.status == 401 and not renewed and (yield Renew()):
            renewed = True
            continue
        found = error_of(*reply)
        failures += 1
        if not isinstance(found, Busy) or found.retry_after > PATIENCE:
            raise found
        yield Again(found, failures, found.retry_after + backoff(failures))


def call(request: Request, kind: type[T], *, repeatable: bool = True) -> Script[T]:
    """`exchange`, and its answer's JSON as the struct `kind`."""
    reply = yield from exchange(request, repeatable=repeatable)
    try:
        return msgspec.json.decode(reply.body, type=kind)
    except msgspec.MsgspecError as error:
        raise Unexpected(
            f"its answer cannot be read ({error}): hub and client are of versions that differ",
            reply.status,
        ) from None
