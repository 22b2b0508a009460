"""The blocking client: the same calls, for programs and threads without an event loop."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Generator
from contextlib import closing
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


class SyncClient(Methods):
    """`Client`, but every method blocks: `with SyncClient(url, token) as client`. Threads may
    share it."""

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        renew: Callable[[], str | None] | None = None,
        ssl_context: ssl.SSLContext | None = None,
        tries: int = TRIES,
    ) -> None:
        self.address = address_of(url)
        self.token = token
        self._renew = renew
        self._renewing = threading.Lock()
        self._ssl = ssl_context
        self._tries = tries
        self._pool = httpcore2.ConnectionPool(**pool_options(self.address, ssl_context))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes its connections."""
        self._pool.close()

    def subscribe(
        self, session_id: str, *, after: str | None = None, on_lost: OnLost | None = None
    ) -> Generator[Event]:
        """`Client.subscribe`, blocking: `for event in client.subscribe("s1")`."""
        from websockets.sync.client import connect

        from hub.client.sockets import SOCKET_FAILURES, socket_options, wait_after

        subscription, fresh = Subscription(session_id, after), False
        while True:
            try:
                options = socket_options(self.address, self.token, self._ssl)
                with connect(self.address.ws + subscription.path, **options) as socket:
                    subscription.opened()
                    while True:
                        event = subscription.received(socket.recv(subscription.patience))
                        if event is not None:
                            fresh = fresh and not isinstance(event, Hello)
                            yield event
                        while subscription.unsent:
                            socket.send(subscription.unsent.popleft())
            except SOCKET_FAILURES as error:
                failure: Exception = error
            try:
                lost = wait_after(subscription, failure)
            except Unauthenticated:
                if fresh or not self._renewed(self.token):
                    raise
                fresh = True
                continue
            if on_lost is not None:
                on_lost(lost)
            time.sleep(lost.retry_in)

    def follow_log(
        self, job_id: str, *, after: int = 0, on_lost: OnLost | None = None
    ) -> Generator[LogLine]:
        """`Client.follow_log`, blocking."""
        job = self.job(job_id)
        follower = LogFollower(job, after)
        with closing(self.subscribe(job.session_id, on_lost=on_lost)) as events:
            while (step := follower.step()) is not None:
                if step == WAIT:
                    follower.event(next(events))
                elif step == LOOK:
                    follower.looked(self.job(job_id))
                else:
                    follower.page(self.logs(job_id, after=step))
                yield from follower.lines()

    def run(self, script: Script[T]) -> T:
        """Takes the steps of a call (`hub.client.call`); returns what it returns."""
        used = self.token
        try:
            step = next(script)
            while True:
                given: Any = None
                match step:
                    case Pause(seconds):
                        time.sleep(seconds)
                    case Again(error, failures, seconds):
                        if failures >= self._tries:
                            step = script.throw(error)
                            continue
                        time.sleep(seconds)
                    case Renew():
                        given = self._renewed(used)
                    case Request():
                        used = self.token
                        try:
                            given = self._send(step)
                        except Unreachable as error:
                            step = script.throw(error)
                            continue
                step = script.send(given)
        except StopIteration as done:
            result: T = done.value
            return result

    def _send(self, request: Request) -> Reply:
        url = self.address.http + request.target
        try:
            options = request_options(request, self.token)
            return reply_of(self._pool.request(request.method, url, **options))
        except HTTP_FAILURES as error:
            raise unreachable(self.address, error) from error

    def _renewed(self, refused: str | None) -> bool:
        """Whether there is another credential than the refused one now."""
        if self._renew is None:
            return False
        with self._renewing:
            if self.token == refused:
                fresh = self._renew()
                if fresh is None or fresh == refused:
                    return False
                self.token = fresh
        return True
