"""The agent's tools."""

from __future__ import annotations

from typing import Any, Final, Literal

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from hub.api.operation import Operation, answer, caller, read_query
from hub.services import services_of
from hub.tools import rendered, tools_of


class ToolsQuery(Struct, kw_only=True, forbid_unknown_fields=True):
    """In which format."""

    format: Literal["openai", "mcp", "gantz"] = "openai"


async def _tools(request: Request) -> Response:
    services, principal = services_of(request), caller(request)
    principal.require("read")
    query: ToolsQuery = read_query(request, ToolsQuery)
    tools = tools_of(await services.enqueuer.announced())
    shown = rendered(tools, query.format, services.settings.public_url or str(request.base_url))
    if isinstance(shown, str):
        headers = {"Cache-Control": "no-store"}
        return Response(shown, headers=headers, media_type="application/yaml")
    return answer(shown)


OPERATIONS: Final = (
    Operation(
        method="GET",
        path="/tools",
        endpoint=_tools,
        name="listTools",
        tag="tools",
        summary="The agent's tools, from the announced tasks.",
        query=ToolsQuery,
        answers={200: (list[dict[str, Any]] | dict[str, Any], "application/yaml")},
        errors=(422,),
    ),
)
