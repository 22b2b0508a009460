"""Starts a job over MCP and waits for its end, with the official client.

pip install 'jobcast[mcp]'
export JOBCAST_URL=http://127.0.0.1:8080 JOBCAST_SESSION=chat:main
export JOBCAST_TOKEN=$(jobcast token --sub me --session $JOBCAST_SESSION)
python examples/mcp_client.py report '{"days": 7}'          # streamable HTTP, at /mcp
python examples/mcp_client.py --stdio report '{"days": 7}'  # `jobcast mcp`, as agents start it
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

URL = os.environ.get("JOBCAST_URL", "http://127.0.0.1:8080")
TOKEN = os.environ["JOBCAST_TOKEN"]
SESSION = os.environ["JOBCAST_SESSION"]


@asynccontextmanager
async def over_http() -> AsyncIterator[Client]:
    """A client of the hub itself."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    url = f"{URL}/mcp?session_id={SESSION}"
    async with (
        httpx2.AsyncClient(headers=headers, timeout=60) as http,
        Client(streamable_http_client(url, http_client=http)) as client,
    ):
        yield client


@asynccontextmanager
async def over_stdio() -> AsyncIterator[Client]:
    """A client of a server that it starts by itself."""
    # Of this environment it has what it is given: the variables from above are in it.
    server = StdioServerParameters(command="jobcast", args=["mcp"], env=dict(os.environ))
    async with Client(server) as client:
        yield client


async def run(client: Client, task: str, params: dict[str, Any]) -> bool:
    """Runs a task; whether it went well."""
    names = [tool.name for tool in (await client.list_tools()).tools]
    print("tools:", ", ".join(names))
    started = await client.call_tool("start_job", {"task": task, "params": params})
    said(started)
    if started.is_error or started.structured_content is None:
        return False
    job_id = started.structured_content["job_id"]
    while True:
        # Clients give a call a minute, so a wait is shorter, and there may be several.
        args = {"job_id": job_id, "wait": 45}
        checked = await client.call_tool("check_job_status", args, progress_callback=told)
        state = (checked.structured_content or {}).get("status")
        if checked.is_error or state in ("completed", "failed", "cancelled", "input_required"):
            said(checked)
            return state == "completed"


async def told(progress: float, total: float | None, message: str | None) -> None:
    """How far it is, while the call waits."""
    print(f"  {progress:g}{'' if total is None else f' of {total:g}'} {message or ''}", flush=True)


def said(result: Any) -> None:
    """What the tool says to a model."""
    print(*(block.text for block in result.content if block.type == "text"), flush=True)


async def main() -> bool:
    """As the arguments say."""
    args = [arg for arg in sys.argv[1:] if arg != "--stdio"]
    connection = over_stdio() if "--stdio" in sys.argv else over_http()
    async with connection as client:
        return await run(client, args[0], json.loads(args[1]) if len(args) > 1 else {})


if __name__ == "__main__":
    sys.exit(0 if asyncio.run(main()) else 1)
