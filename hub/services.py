"""What the doors share: everything that one hub process has one of."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.requests import HTTPConnection

from hub.auth import Authenticator
from hub.enqueue import Enqueuer
from hub.loop_lag import LoopLag
from hub.metrics.board import Board
from hub.origins import Origins
from hub.ratelimit import RateLimit
from hub.scheduler import Scheduler
from hub.scripts import Scripts
from hub.settings import Settings
from hub.store import Store
from hub.transitions import Transitions

if TYPE_CHECKING:
    from hub.fanout import Fanout
    from hub.streams import Streams


class NotStarted(RuntimeError):
    """The app is asked before its lifespan began: an error of whoever mounted it."""


@dataclass(kw_only=True)
class Services:
    """One hub's services. `draining` is set once the hub goes away: what waits ends then.

    `connect_limit` counts new streams by client address, `enqueue_limit` jobs by credential.
    `board` adds up the metrics of hub processes that share a port."""

    settings: Settings
    redis: Redis
    scripts: Scripts
    store: Store
    transitions: Transitions
    auth: Authenticator
    origins: Origins
    enqueuer: Enqueuer
    scheduler: Scheduler
    fanout: Fanout
    streams: Streams
    connect_limit: RateLimit
    enqueue_limit: RateLimit
    board: Board
    loop_lag: LoopLag = field(default_factory=LoopLag)
    webhook_results: Counter[str] = field(default_factory=Counter)
    draining: asyncio.Event = field(default_factory=asyncio.Event)

    async def drain(self) -> None:
        """Ends waits and streams, whose clients are told to come back. Returns once the streams
        are over, or after their grace."""
        self.draining.set()
        await self.streams.drain()


def services_of(connection: HTTPConnection) -> Services:
    """The services of the app that serves this request or WebSocket."""
    return services_in(connection.app)


def services_in(app: Starlette) -> Services:
    """Those of an app that runs."""
    services: Services | None = getattr(app.state, "services", None)
    if services is None:
        raise NotStarted(
            "Jobcast is mounted in an app that did not start it. Starlette runs the lifespan of "
            "the outermost app only: enter hub.app.lifespan(app) in yours."
        )
    return services
