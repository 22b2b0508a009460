"""The MCP server: tools, jobs as resources, and news of them, over whatever transport."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import mcp_types as types
from mcp.server.extension import compose_tool_call_handler
from mcp.server.lowlevel import Server
from redis.exceptions import RedisError

from hub.agent.toolbox import Told
from hub.jobs import Job
from hub.mcp.news import Subscriptions, listen
from hub.mcp.tasks import TaskExtension
from hub.mcp.visit import SCHEME, Context, Visit, result_of, uri_of

NAME: Final = "jobcast"
INSTRUCTIONS: Final = (
    "Jobs run in the background. A tool that starts one answers with its id at once: tell the"
    " person, and go on; they are told of its end. check_job_status with wait (45 s at most) waits"
    " for it, and the resource job://{id} is how it is now. Approvals are for people alone."
)
LISTED: Final = 50
_AWAY: Final = "Jobcast cannot be reached just now. Nothing was lost; try again in a moment."


def make_server(
    visit_of: Callable[[Context], Visit], over: asyncio.Event, *, subscribe: bool
) -> tuple[Server[Any], Subscriptions]:
    """The server. `visit_of` says whose request it is; streams end once `over` is set. With
    `subscribe` (for a transport of one client) clients of before 2026-07-28 may subscribe to
    resources, while the second part of the answer runs."""
    doors = _Handlers(visit_of, over)
    subscriptions = Subscriptions(visit_of)
    more: dict[str, Any] = {}
    if subscribe:
        more = {
            "on_subscribe_resource": subscriptions.subscribe,
            "on_unsubscribe_resource": subscriptions.unsubscribe,
        }
    server: Server[Any] = Server(
        NAME,
        version="1",
        title="Jobcast",
        instructions=INSTRUCTIONS,
        on_list_tools=doors.list_tools,
        on_call_tool=doors.call_tool,
        on_list_resources=doors.list_resources,
        on_list_resource_templates=doors.list_templates,
        on_read_resource=doors.read_resource,
        on_subscriptions_listen=doors.listen,
        **more,
    )
    extension = TaskExtension(visit_of, doors.call)
    for binding in extension.methods():
        server.add_request_handler(binding.method, binding.params_type, binding.handler)
    server.add_request_handler(
        "tools/call",
        types.CallToolRequestParams,
        compose_tool_call_handler([extension], doors.call_tool),
    )
    server.extensions[extension.identifier] = extension.settings()
    return server, subscriptions


class _Handlers:
    def __init__(self, visit_of: Callable[[Context], Visit], over: asyncio.Event) -> None:
        self._visit_of = visit_of
        self._over = over

    async def list_tools(
        self, ctx: Context, _: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        found = await self._visit_of(ctx).tools.tools(format="mcp")
        return types.ListToolsResult.model_validate(found)

    async def call_tool(
        self, ctx: Context, params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        return result_of(await self.call(ctx, params))

    async def call(self, ctx: Context, params: types.CallToolRequestParams) -> Told:
        """A tool's answer; what cannot be reached is told too."""
        visit, progress = self._visit_of(ctx), _Progress(ctx)
        try:
            return await visit.tools.call(
                params.name, params.arguments, session_id=visit.session_id, heard=progress
            )
        except (RedisError, OSError):
            return Told(text=_AWAY, failed=True)

    async def list_resources(
        self, ctx: Context, _: types.PaginatedRequestParams | None
    ) -> types.ListResourcesResult:
        visit = self._visit_of(ctx)
        page = await visit.desk.jobs(session_id=visit.session_id, limit=LISTED)
        return types.ListResourcesResult(
            resources=[
                types.Resource(
                    uri=uri_of(job.id),
                    name=job.id,
                    title=job.title or job.task,
                    description=f"{job.task}: {job.status}",
                    mime_type="text/plain",
                )
                for job in page.jobs
            ]
        )

    async def list_templates(
        self, _: Context, __: types.PaginatedRequestParams | None
    ) -> types.ListResourceTemplatesResult:
        return types.ListResourceTemplatesResult(
            resource_templates=[
                types.ResourceTemplate(
                    uri_template=SCHEME + "{id}",
                    name="job",
                    description="How a job is: state, progress, question, result, last log lines.",
                    mime_type="text/plain",
                )
            ]
        )

    async def read_resource(
        self, ctx: Context, params: types.ReadResourceRequestParams
    ) -> types.ReadResourceResult:
        visit, uri = self._visit_of(ctx), str(params.uri)
        told = await visit.tools.report(await visit.job_at(uri))
        return types.ReadResourceResult(
            contents=[types.TextResourceContents(uri=uri, mime_type="text/plain", text=told.text)]
        )

    async def listen(
        self, ctx: Context, params: types.SubscriptionsListenRequestParams
    ) -> types.SubscriptionsListenResult:
        return await listen(ctx, params, self._visit_of(ctx), self._over)


class _Progress:
    """Reports a job's progress to whoever waits; the protocol wants it to grow each time."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._last = -1.0

    async def __call__(self, job: Job) -> None:
        known = job.progress
        percent = known.percent if known is not None else None
        self._last = max(percent or 0.0, self._last + 0.001)
        said = known.message if known is not None and known.message else job.status
        await self._ctx.session.report_progress(self._last, 100.0, said[:200])
