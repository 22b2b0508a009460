"""News of jobs for MCP clients: `subscriptions/listen` (2026-07-28), and `resources/subscribe`
(before it)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import mcp_types as types
from mcp.server.session import ServerSession
from mcp.server.subscriptions import ListenHandler, ResourceUpdated, ServerEvent
from mcp.shared.exceptions import MCPError

from hub.mcp.visit import Context, Visit, uri_of


class _Bus:
    """The events of one stream, from one session's jobs. A stuck client's stream is ended by the
    SDK at 1,024 events; it asks anew then."""

    def __init__(self) -> None:
        self._listeners: list[Callable[[ServerEvent], None]] = []

    async def publish(self, event: ServerEvent) -> None:
        self.tell(event)

    def tell(self, event: ServerEvent) -> None:
        for listener in list(self._listeners):
            listener(event)

    def subscribe(self, listener: Callable[[ServerEvent], None]) -> Callable[[], None]:
        self._listeners.append(listener)
        return self._listeners.clear


async def listen(
    ctx: Context,
    params: types.SubscriptionsListenRequestParams,
    visit: Visit,
    over: asyncio.Event,
) -> types.SubscriptionsListenResult:
    """Tells of changes of the jobs that were asked for, until the client goes or `over` is set.
    Jobs that are not the session's are left out of what is granted; lists are not followed."""
    granted: dict[str, str] = {}
    for uri in params.notifications.resource_subscriptions or []:
        try:
            job = await visit.job_at(uri)
        except MCPError:
            continue
        granted[job.id] = uri
    wanted = types.SubscriptionFilter(resource_subscriptions=[*granted.values()] or None)
    bus = _Bus()

    def heard(job_id: str | None) -> None:
        for known, uri in granted.items():
            if job_id in (None, known):
                bus.tell(ResourceUpdated(uri))

    handler = ListenHandler(bus)
    asked = params.model_copy(update={"notifications": wanted})

    async def end() -> None:
        await over.wait()
        handler.close()

    async with visit.watcher(visit.session_id, heard), asyncio.TaskGroup() as group:
        ending = group.create_task(end())
        try:
            return await handler(ctx, asked)
        finally:
            ending.cancel()


class Subscriptions:
    """What one client of the older protocol has subscribed to. News of a job that were not sent
    yet are one."""

    def __init__(self, visit_of: Callable[[Context], Visit]) -> None:
        self._visit_of = visit_of
        self._sessions: dict[str, ServerSession] = {}
        self._changed: set[str] = set()
        self._news = asyncio.Event()

    async def subscribe(
        self, ctx: Context, params: types.SubscribeRequestParams
    ) -> types.EmptyResult:
        """Follows a job's resource. Raises MCPError for one that the session does not have."""
        job = await self._visit_of(ctx).job_at(str(params.uri))
        self._sessions[job.id] = ctx.session
        return types.EmptyResult()

    async def unsubscribe(
        self, _: Context, params: types.UnsubscribeRequestParams
    ) -> types.EmptyResult:
        """Follows it no more; a no-op for one that was not followed."""
        self._sessions = {k: v for k, v in self._sessions.items() if uri_of(k) != str(params.uri)}
        return types.EmptyResult()

    async def run(self, visit: Visit) -> None:
        """Sends news until cancelled."""

        def heard(job_id: str | None) -> None:
            self._changed |= set(self._sessions) if job_id is None else {job_id}
            self._news.set()

        async with visit.watcher(visit.session_id, heard):
            while True:
                await self._news.wait()
                self._news.clear()
                changed, self._changed = self._changed, set()
                for job_id in changed & set(self._sessions):
                    await self._sessions[job_id].send_resource_updated(uri_of(job_id))
