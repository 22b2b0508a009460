"""examples/mounted.py as its reader runs it."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import httpx2
import pytest
from websockets.asyncio.client import connect

from hub.transitions import Transitions
from tests.announced import TASKS
from tests.conftest import API_KEY, SECRET, Server, free_port, wait_until
from tests.hub_process import environment
from tests.running_hub import http_client

EXAMPLE = Path(__file__).parents[3] / "examples" / "mounted.py"
HEADERS = {"Authorization": f"Bearer {API_KEY}"}


@pytest.mark.slow
async def test_the_mounted_example(valkey: Server, transitions: Transitions) -> None:
    await transitions.announce(TASKS)
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        EXAMPLE,
        env=environment(
            PORT=str(port),
            JOBCAST_REDIS_URL=valkey.url,
            JOBCAST_SECRET=SECRET,
            JOBCAST_API_KEYS=f"test:{API_KEY}",
        ),
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with http_client(f"http://127.0.0.1:{port}", HEADERS) as client:

            async def answers() -> bool:
                assert process.returncode is None
                try:
                    return (await client.get("/jobs/readyz")).status_code == 200
                except httpx2.TransportError:
                    return False

            await wait_until(answers, "the example answers")
            assert (await client.get("/")).json() == {"jobs": "/jobs/"}
            assert "assets/app.js" in (await client.get("/jobs/")).text
            url = f"ws://127.0.0.1:{port}/jobs/ws/s1"
            async with connect(url, additional_headers=HEADERS, proxy=None, open_timeout=60) as ws:
                assert json.loads(await ws.recv())["type"] == "hello"
                wanted = {"task": "echo", "params": {"text": "hi"}, "session_id": "s1"}
                assert (await client.post("/jobs/jobs", json=wanted)).status_code == 202
                assert json.loads(await ws.recv())["type"] == "job.pending"
                process.terminate()
                async with asyncio.timeout(60):
                    await ws.wait_closed()
        async with asyncio.timeout(60):
            await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
