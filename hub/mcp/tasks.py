"""Jobs as tasks of MCP: the extension `io.modelcontextprotocol/tasks` (SEP-2663).

Whoever declares it is answered with a task where a tool starts a job: the task's id is the job's.
A job that failed is a task that completed, with `isError`, since its tool did run. A question is
asked of the person through the client; an approval is given on the job's card alone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import mcp_types as types
from mcp.server.context import CallNext, HandlerResult
from mcp.server.extension import Extension, MethodBinding
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from hub.agent.reports import started
from hub.agent.toolbox import Told
from hub.errors import JobcastError
from hub.jobs import Input, Job
from hub.mcp.visit import Context, Visit, result_of, uri_of

IDENTIFIER: Final = "io.modelcontextprotocol/tasks"
POLL_MS: Final = 2_000

_STATUS: Final[Mapping[str, str]] = {
    "completed": "completed",
    "failed": "completed",
    "cancelled": "cancelled",
}
_STARTS: Final = ("start_job", "run_")


class TaskParams(types.RequestParams):
    """Which task."""

    task_id: str


class UpdateParams(TaskParams):
    """Answers to what a task asks, by the names under which it asks."""

    input_responses: dict[str, Any]


class TaskExtension(Extension):
    """The extension. `call` does what a tool's call asks for."""

    identifier = IDENTIFIER

    def __init__(
        self,
        visit_of: Callable[[Context], Visit],
        call: Callable[[Context, types.CallToolRequestParams], Awaitable[Told]],
    ) -> None:
        self._visit_of = visit_of
        self._call = call

    def methods(self) -> Sequence[MethodBinding]:
        """`tasks/get`, `tasks/update`, `tasks/cancel`."""
        return (
            MethodBinding("tasks/get", TaskParams, self._get),
            MethodBinding("tasks/update", UpdateParams, self._update),
            MethodBinding("tasks/cancel", TaskParams, self._cancel),
        )

    async def intercept_tool_call(
        self, params: types.CallToolRequestParams, ctx: Context, call_next: CallNext
    ) -> HandlerResult:
        """Answers with a task where a job was started for a client that knows tasks."""
        if not (_declared(ctx) and params.name.startswith(_STARTS)):
            return await call_next(ctx)
        told = await self._call(ctx, params)
        if told.job is None:
            return _result(told)
        return {"resultType": "task", **_task(told.job), "statusMessage": started(told.job)}

    async def _get(self, ctx: Context, params: TaskParams) -> HandlerResult:
        visit, job = await self._found(ctx, params)
        answer: dict[str, Any] = {"resultType": "complete", **_task(job)}
        if job.status in ("completed", "failed"):
            answer["result"] = _result(await visit.tools.report(job))
        elif (asked := _question(job)) is not None:
            answer["inputRequests"] = {asked.id: _elicit(asked)}
        return answer

    async def _update(self, ctx: Context, params: UpdateParams) -> HandlerResult:
        visit, job = await self._found(ctx, params)
        asked = _question(job)
        given = params.input_responses.get(asked.id) if asked is not None else None
        # What answers nothing that is asked now is passed over, as the extension says.
        if asked is not None and isinstance(given, dict) and given.get("action") == "accept":
            content = given.get("content")
            value = content.get("value") if isinstance(content, dict) else None
            try:
                await visit.desk.answer(job.id, asked.id, value)
            except JobcastError as error:
                raise MCPError(types.INVALID_PARAMS, str(error)) from None
        return {"resultType": "complete"}

    async def _cancel(self, ctx: Context, params: TaskParams) -> HandlerResult:
        visit, job = await self._found(ctx, params)
        if not job.terminal:
            try:
                await visit.desk.cancel(job.id)
            except JobcastError as error:
                raise MCPError(types.INVALID_PARAMS, str(error)) from None
        return {"resultType": "complete"}

    async def _found(self, ctx: Context, params: TaskParams) -> tuple[Visit, Job]:
        if ctx.protocol_version not in MODERN_PROTOCOL_VERSIONS:
            raise MCPError(types.METHOD_NOT_FOUND, "Method not found", data=ctx.method)
        visit = self._visit_of(ctx)
        try:
            return visit, await visit.job_at(uri_of(params.task_id))
        except MCPError:
            raise MCPError(types.INVALID_PARAMS, "There is no such task.") from None


def _declared(ctx: Context) -> bool:
    known = ctx.session.client_capabilities
    return (
        ctx.protocol_version in MODERN_PROTOCOL_VERSIONS
        and known is not None
        and IDENTIFIER in (known.extensions or {})
    )


def _question(job: Job) -> Input | None:
    asked = job.input
    return asked if asked is not None and asked.kind == "question" and not job.terminal else None


def _task(job: Job) -> dict[str, Any]:
    status = "input_required" if _question(job) else _STATUS.get(job.status, "working")
    waits = job.input is not None and status == "working"
    far = job.progress.message if job.progress is not None else None
    message = "It waits for a person's approval, on the job's card." if waits else far
    return {
        "taskId": job.id,
        "status": status,
        "statusMessage": (message or job.status)[:200],
        "createdAt": job.created_at,
        "lastUpdatedAt": job.updated_at,
        "ttlMs": None,
        "pollIntervalMs": POLL_MS,
    }


def _elicit(asked: Input) -> dict[str, Any]:
    value: dict[str, Any] = {"type": "string"}
    if asked.options:
        value["enum"] = asked.options
    schema = {"type": "object", "properties": {"value": value}, "required": ["value"]}
    params = {"mode": "form", "message": asked.prompt, "requestedSchema": schema}
    return {"method": "elicitation/create", "params": params}


def _result(told: Told) -> dict[str, Any]:
    return result_of(told).model_dump(by_alias=True, mode="json", exclude_none=True)
