"""The client for asyncio."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from types import TracebackType
from typing import Any, Self, TypeVar

import httpcore2

from hub.client.address import address_of
from hub.client.call import TRIES, Again, Pause, Renew, Reply, Request, Script
from hub.client.errors import Unreachable
from hub.client.events import Event, Hello
from hub.client.logs import LOOK, WAIT, LogFollower
from hub.client.methods import Methods
from hub.client.subscription import Subscription
from hub.client.wire import (
    HTTP_FAILURES,
    OnLost,
    pool_options,
    reply_of,
    request_options,
    unreachable,
)
from hub.errors import Unauthenticated
from hub.pages import LogLine

T = TypeVar("T")


class Client(Methods):
    """A hub, spoken to over HTTP and WebSocket: `async with Client(url, token) as client`.

    `token` is an API key or a session token. `renew` gives a fresh one when the hub refuses it
    (None: there is none); it is asked once for each refusal. `ssl_context` is for private CAs.
    A request that is not answered, or by "busy", is sent up to `tries` times in all, with full
    jitter in between, so that a hub may be started again meanwhile. Proxies are taken from the
    environment. Answers are bounded by the hub's own limits.

    Raises what `hub.client.errors` draws; SettingsError for a URL that is none."""

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        renew: Callable[[], Awaitable[str | None]] | None = None,
        ssl_context: ssl.SSLContext | None = None,
        tries: int = TRIES,
    ) -> None:
        self.address = address_of(url)
        self.token = token
        self._renew = renew
        self._renewing = asyncio.Lock()
        self._ssl = ssl_context
        self._tries = tries
        self._pool = httpcore2.AsyncConnectionPool(**pool_options(self.address, ssl_context))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Closes its connections."""
        await self._pool.aclose()

    async def subscribe(
        self, session_id: str, *, after: str | None = None, on_lost: OnLost | None = None
    ) -> AsyncGenerator[Event]:
        """A session's events, for ever: `async for event in client.subscribe("s1")`.

        The first is a Hello. Whatever breaks, it comes back with full jitter (20 s at most) and
        resumes at its cursor, so that each lifecycle event is yielded exactly once; where that
        cannot be (what was missed is gone), a Hello that is not `resumed` replaces everything.
        `after` goes on from the cursor of an earlier one. `on_lost` hears of every break.

        Raises Unauthenticated, Refused, SessionDeleted, BadInput, Unexpected; no outage ends it."""
        from websockets.asyncio.client import connect

        from hub.client.sockets import SOCKET_FAILURES, socket_options, wait_after

        subscription, fresh = Subscription(session_id, after), False
        while True:
            try:
                options = socket_options(self.address, self.token, self._ssl)
                async with connect(self.address.ws + subscription.path, **options) as socket:
                    subscription.opened()
                    while True:
                        async with asyncio.timeout(subscription.patience):
                            data = await socket.recv()
                        event = subscription.received(data)
                        if event is not None:
                            fresh = fresh and not isinstance(event, Hello)
                            yield event
                        while subscription.unsent:
                            await socket.send(subscription.unsent.popleft())
            except SOCKET_FAILURES as error:
                failure: Exception = error
            try:
                lost = wait_after(subscription, failure)
            except Unauthenticated:
                if fresh or not await self._renewed(self.token):
                    raise
                fresh = True
                continue
            if on_lost is not None:
                on_lost(lost)
            await asyncio.sleep(lost.retry_in)

    async def follow_log(
        self, job_id: str, *, after: int = 0, on_lost: OnLost | None = None
    ) -> AsyncGenerator[LogLine]:
        """A job's log lines after the line `after`, each once and in order, until the job has
        ended and all have been told. Lines that the hub no longer keeps are left out. Raises
        NotFound, and as `subscribe`."""
        job = await self.job(job_id)
        follower = LogFollower(job, after)
        events = self.subscribe(job.session_id, on_lost=on_lost)
        try:
            while (step := follower.step()) is not None:
                if step == WAIT:
                    follower.event(await anext(events))
                elif step == LOOK:
                    follower.looked(await self.job(job_id))
                else:
                    follower.page(await self.logs(job_id, after=step))
                for line in follower.lines():
                    yield line
        finally:
            await events.aclose()

    async def run(self, script: Script[T]) -> T:
        """Takes the steps of a call (`hub.client.call`); returns what it returns."""
        used = self.token
        try:
            step = next(script)
            while True:
                given: Any = None
                match step:
                    case Pause(seconds):
                        await asyncio.sleep(seconds)
                    case Again(error, failures, seconds):
                        if failures >= self._tries:
                            step = script.throw(error)
                            continue
                        await asyncio.sleep(seconds)
                    case Renew():
                        given = await self._renewed(used)
                    case Request():
                        used = self.token
                        try:
                            given = await self._send(step)
                        except Unreachable as error:
                            step = script.throw(error)
                            continue
                step = script.send(given)
        except StopIteration as done:
            result: T = done.value
            return result

    async def _send(self, request: Request) -> Reply:
        url = self.address.http + request.target
        try:
            options = request_options(request, self.token)
            return reply_of(await self._pool.request(request.method, url, **options))
        except HTTP_FAILURES as error:
            raise unreachable(self.address, error) from error

    async def _renewed(self, refused: str | None) -> bool:
        """Whether there is another credential than the refused one now."""
        if self._renew is None:
            return False
        async with self._renewing:
            if self.token == refused:
                fresh = await self._renew()
                if fresh is None or fresh == refused:
                    return False
                self.token = fresh
        return True
