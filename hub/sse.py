"""Server-Sent Events of a session, and of one job (WHATWG HTML §9.2)."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any, Final

from redis.exceptions import RedisError
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from hub import codes
from hub.actions import visible_job
from hub.auth import Principal, bearer
from hub.errors import Busy, JobcastError, NotFound, Refused, TooMany, Unauthenticated
from hub.feed import Batch, Subscriber, ends
from hub.feed.batch import sse
from hub.greeting import cursor_of
from hub.jobs import SESSION_ID, Job
from hub.pipes import Disconnected, QueuedPipe
from hub.problems import REDIS_RETRY_AFTER, problem_of
from hub.services import Services, services_of
from hub.streams import Stream

#: Seconds after which EventSource comes back: by itself, and where coming back would be no use.
RETRY: Final = 2.0
RETRY_LATER: Final = 60.0

_HEADERS: Final = {
    "Cache-Control": "no-store",
    # nginx and its kin would hold events back until a buffer is full.
    "X-Accel-Buffering": "no",
}


async def session_events(request: Request) -> Response:
    """`GET /sessions/{session_id}/events`."""
    session_id: str = request.path_params["session_id"]
    if SESSION_ID.fullmatch(session_id) is None:
        raise NotFound("There is no such session.")
    services = services_of(request)
    try:
        principal = _admitted(request, services)
        principal.require("read", session_id)
    except JobcastError as error:
        return _refusal(services, error)
    return EventStream(services, principal, session_id, _after(request))


async def job_events(request: Request) -> Response:
    """`GET /jobs/{job_id}/stream`. Raises NotFound as every call about a job does."""
    services = services_of(request)
    try:
        principal = _admitted(request, services)
        job = await visible_job(services.store, principal, request.path_params["job_id"])
        after = _after(request)
        if after is not None and job.terminal and await _told(services, job, after):
            return Response(status_code=204, headers={"Cache-Control": "no-store"})
    except (Unauthenticated, Refused, TooMany, RedisError, OSError) as error:
        return _refusal(services, error)
    return EventStream(services, principal, job.session_id, after, job.id.encode())


def _admitted(request: Request, services: Services) -> Principal:
    client = request.client
    services.connect_limit.require(client.host if client else "", "streams opened")
    credential = bearer(request.headers.get("authorization"))
    in_url = request.query_params.get("token")
    return services.auth.authenticate(credential or in_url, in_url=credential is None)


def _after(request: Request) -> bytes | None:
    return cursor_of(request.headers.get("last-event-id") or request.query_params.get("after"))


async def _told(services: Services, job: Job, after: bytes) -> bool:
    """Whether a client at this cursor has had a terminal job's last event."""
    history = await services.store.history(job.session_id, after)
    mine = job.id.encode()
    return history.exact and not any(entry.key == mine for entry in history.entries)


def _refusal(services: Services, error: Exception) -> EventStream:
    refused = EventStream(services)
    refused.refuse(error)
    return refused


class EventStream(Stream, Response):
    """One stream, which is also the response that carries it. Without a principal it only says
    why there is none: EventSource gives up for ever on any status but 200."""

    kind = "sse"
    says_goodbye = True

    def __init__(
        self,
        services: Services,
        principal: Principal | None = None,
        session_id: str = "",
        after: bytes | None = None,
        job: bytes | None = None,
    ) -> None:
        Response.__init__(self, status_code=200, headers=_HEADERS, media_type="text/event-stream")
        # There is no telling how long it will be.
        del self.headers["content-length"]
        Stream.__init__(self, services.streams, services.settings.sse_heartbeat)
        self.events = self.pipe = EventPipe(self)
        if principal is not None:
            self.admit(principal, time.time())
            subscriber = Subscriber(session_id, self, after=after, job=job)
            self.subscribers[session_id] = subscriber
        self._refused: Callable[[], None] | None = None

    def refuse(self, error: Exception) -> None:
        """Makes it a stream that only says goodbye."""
        code = codes.of_status(problem_of(error)[0].status)
        after: float | None = None
        if codes.comes_back(code):
            wait = error.retry_after if isinstance(error, Busy) else REDIS_RETRY_AFTER
            after = round(wait + self.streams.return_after(), 3)
        self._refused = lambda: self.close(code, after)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})

        async def until_gone() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass

        self.events.send = send
        await self.events.serve(self._begin, until_gone)

    def _begin(self) -> None:
        self.open()
        if self.streams.draining:
            self.close(codes.GOING_AWAY, self.streams.return_after())
        elif self._refused is not None:
            self._refused()
        else:
            self.events.raw(_retry(RETRY * random.uniform(0.5, 1.5)))
            for subscriber in self.subscribers.values():
                try:
                    self.fanout.subscribe(subscriber)
                except TooMany as error:
                    self.refuse(error)
            if self._refused is not None:
                self._refused()

    # ------------------------------------------------------------------ out

    def close(self, code: int, reconnect_after: float | None = None, reason: str = "") -> None:
        if self.closing is None and code:
            # A native EventSource reads no goodbye: this is how it is told when to come back.
            wait = RETRY_LATER if not codes.comes_back(code) else reconnect_after or RETRY
            self.events.raw(_retry(wait))
        super().close(code, reconnect_after, reason)

    def greet(self, subscriber: Subscriber, hello: bytes, cursor: bytes, over: bool) -> None:
        self.events.raw(sse(hello, cursor))
        if over:
            self.close(0)

    def write(self, subscriber: Subscriber, batch: Batch) -> None:
        super().write(subscriber, batch)
        if subscriber.job is not None and any(ends(item) for item in batch.publications):
            self.close(0)


class EventPipe(QueuedPipe):
    """The body of a response that does not end by itself. `send` is the server's."""

    send: Send

    def text(self, body: bytes) -> None:
        self.raw(sse(body))

    def batch(self, batch: Batch) -> None:
        self.put(batch.size, batch)

    def raw(self, lines: bytes) -> None:
        """Sends what is in the format already."""
        self.put(len(lines), lines)

    async def _send(self, item: Any) -> None:
        body = item.sse if isinstance(item, Batch) else item
        await self._body({"type": "http.response.body", "body": body, "more_body": True})

    async def _finish(self, code: int, reason: str) -> None:
        await self._body({"type": "http.response.body", "body": b""})

    async def _body(self, message: Message) -> None:
        try:
            await self.send(message)
        except OSError:
            raise Disconnected from None


def _retry(seconds: float) -> bytes:
    return b"retry: %d\n\n" % int(seconds * 1000)
