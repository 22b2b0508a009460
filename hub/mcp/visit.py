"""Who speaks MCP, about which session, and with which tools."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, CallToolResult, TextContent

from hub.agent.desk import Desk
from hub.agent.toolbox import Told, Toolbox
from hub.agent.watch import Watcher
from hub.errors import NotFound
from hub.jobs import Job

SCHEME: Final = "job://"

#: What handlers are given with each request.
Context = ServerRequestContext[Any, Any]


@dataclass(frozen=True, kw_only=True)
class Visit:
    """One caller's view: the tools, bound to a session."""

    session_id: str
    tools: Toolbox
    desk: Desk
    watcher: Watcher

    async def job_at(self, uri: str) -> Job:
        """The job of a resource. Raises MCPError as the protocol asks for unknown resources; it
        says the same of another session's."""
        try:
            return await self.tools.job(uri.removeprefix(SCHEME), self.session_id)
        except NotFound:
            raise MCPError(INVALID_PARAMS, f"There is no resource {uri[:100]}.") from None


def uri_of(job_id: str) -> str:
    """The resource of a job."""
    return SCHEME + job_id


def result_of(told: Told) -> CallToolResult:
    """An answer as the result of a call."""
    job = told.job
    return CallToolResult(
        content=[TextContent(text=told.text)],
        structured_content=None if job is None else {"job_id": job.id, "status": job.status},
        is_error=told.failed,
    )
