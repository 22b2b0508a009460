"""One try of a webhook: a signed POST, and what came of it."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from types import TracebackType
from typing import Final, Self

import httpcore2

from hub.webhooks.dialer import GuardedBackend, Resolve, Resolver
from hub.webhooks.guard import Network, Refused, check_url
from hub.webhooks.policy import parse_retry_after
from hub.webhooks.signing import sign

#: The whole of a try, from the lookup to the last byte read: a limit on each read would not end
#: an answer that drips.
TRY_SECONDS: Final = 15.0
#: What is read of an answer's body: enough to use the connection again after a usual answer.
READ_BYTES: Final = 16 * 1024
IDLE_CONNECTIONS: Final = 32
IDLE_SECONDS: Final = 10.0
ERROR_CHARS: Final = 300
#: What is kept of an answer's body, for people who look for the cause.
SHOWN_BYTES: Final = 512


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a try: a `status`, or the `error` that left it without one.

    `duration` and `retry_after` are seconds; the latter is what a failing endpoint asked for.
    `response` is how the answer's body began, at most 512 bytes of it, as text."""

    status: int | None
    error: str = ""
    retry_after: float | None = None
    duration: float = 0.0
    response: str = ""


@cache
def _default_tls() -> ssl.SSLContext:
    """Trusts what the system trusts. One for all: it takes long to read hundreds of roots."""
    return httpcore2.default_ssl_context()


class Sender:
    """Sends webhooks; an async context manager that owns its connections and lookup threads.

    At most `connections` are open at once: callers beyond that wait within their own time.
    There are no redirects, proxies or credentials from the environment, by construction:
    httpcore2's pool knows none."""

    def __init__(
        self,
        *,
        allow_http: bool = False,
        allow_nets: Iterable[Network] = (),
        connections: int = 256,
        user_agent: str = "Jobcast",
        resolve: Resolve | None = None,
        ssl_context: ssl.SSLContext | None = None,
        network: httpcore2.AsyncNetworkBackend | None = None,
        try_seconds: float = TRY_SECONDS,
    ) -> None:
        self._allow_http = allow_http
        self._allow_nets = tuple(allow_nets)
        self._user_agent = user_agent
        self._try_seconds = try_seconds
        self._own_resolver = Resolver()
        backend = GuardedBackend(self._allow_nets, resolve or self._own_resolver, network)
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=_default_tls() if ssl_context is None else ssl_context,
            max_connections=connections,
            max_keepalive_connections=min(connections, IDLE_CONNECTIONS),
            keepalive_expiry=IDLE_SECONDS,
            http2=False,
            retries=0,
            network_backend=backend,
        )

    async def __aenter__(self) -> Self:
        await self._pool.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            await self._pool.__aexit__(exc_type, exc, traceback)
        finally:
            self._own_resolver.close()

    async def send(self, url: str, message_id: str, body: bytes, secrets: Sequence[str]) -> Outcome:
        """POSTs `body` to `url`, signed now with every one of `secrets`.

        Never raises for what the endpoint or the network does: that is the outcome."""
        started = time.monotonic()
        answer = _Answer()
        error = ""
        try:
            async with asyncio.timeout(self._try_seconds):
                await self._post(answer, url, message_id, body, secrets)
        except TimeoutError:
            error = f"no answer within {self._try_seconds:g} s"
        except Refused as refusal:
            error = f"refused: {refusal}"
        except (
            httpcore2.NetworkError,
            httpcore2.ProtocolError,
            httpcore2.TimeoutException,
            OSError,
            UnicodeError,
        ) as failure:
            error = f"{type(failure).__name__}: {failure}"
        # A status is the endpoint's word, whatever became of the rest of the answer.
        return Outcome(
            status=answer.status,
            error=error[:ERROR_CHARS] if answer.status is None else "",
            retry_after=answer.retry_after,
            duration=time.monotonic() - started,
            response=_shown(answer.begun),
        )

    async def _post(
        self, answer: _Answer, url: str, message_id: str, body: bytes, secrets: Sequence[str]
    ) -> None:
        # Checked again: the settings may be stricter than when the URL was registered.
        target = check_url(url, allow_http=self._allow_http, allow_nets=self._allow_nets)
        timestamp = int(time.time())
        headers: list[tuple[bytes | str, bytes | str]] = [
            ("Host", target.host_header),
            ("Content-Type", "application/json"),
            ("User-Agent", self._user_agent),
            ("Accept", "*/*"),
            ("webhook-id", message_id),
            ("webhook-timestamp", str(timestamp)),
            ("webhook-signature", sign(secrets, message_id, timestamp, body)),
        ]
        request_url = httpcore2.URL(
            scheme=target.scheme, host=target.host, port=target.port, target=target.target
        )
        async with self._pool.stream("POST", request_url, headers=headers, content=body) as reply:
            for name, value in reply.headers:
                if name.lower() == b"retry-after":
                    answer.retry_after = parse_retry_after(value.decode("latin-1"), time.time())
            answer.status = reply.status
            read = 0
            async for chunk in reply.aiter_stream():
                read += len(chunk)
                answer.begun += chunk[: SHOWN_BYTES - len(answer.begun)]
                if read >= READ_BYTES:
                    break


@dataclass(slots=True)
class _Answer:
    status: int | None = None
    retry_after: float | None = None
    begun: bytes = b""


def _shown(begun: bytes) -> str:
    """Bytes that anybody may have sent, as text that a terminal and a page can show."""
    found = begun.decode(errors="replace")
    return "".join(char if char.isprintable() or char in "\n\t" else "\ufffd" for char in found)
