"""The hub as a part of another Starlette app, below a path, under a plain uvicorn."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from websockets.asyncio.client import connect

from hub.app import create_app, lifespan
from hub.client import Client
from hub.settings import Settings
from hub.transitions import Transitions
from tests.announced import TASKS
from tests.conftest import API_KEY
from tests.running_hub import http_client

JOB = {"task": "echo", "params": {"text": "hi"}, "session_id": "s1"}
HEADERS = {"Authorization": f"Bearer {API_KEY}"}


def outer(settings: Settings) -> Starlette:
    """Somebody's app: a route of its own, and Jobcast below /jobs."""
    jobcast = create_app(settings)

    @asynccontextmanager
    async def running(_: Starlette) -> AsyncIterator[None]:
        async with lifespan(jobcast):
            yield

    async def home(_: Request) -> PlainTextResponse:
        return PlainTextResponse("home")

    return Starlette(
        routes=[Route("/", home), Mount("/tools/jobs", jobcast)],
        lifespan=running,
    )


@asynccontextmanager
async def served(app: Starlette) -> AsyncIterator[str]:
    """Its address, on a port of its own."""
    config = uvicorn.Config(app, ws="websockets-sansio", log_config=None)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with asyncio.TaskGroup() as group:
            # Connections wait in the listener's backlog until the server takes them.
            group.create_task(server.serve([listener]))
            try:
                yield f"http://127.0.0.1:{listener.getsockname()[1]}"
            finally:
                server.should_exit = True


async def line_with(lines: AsyncIterator[str], text: str) -> str:
    """The next line that has `text` in it; fails the test at the end of the stream."""
    async with asyncio.timeout(60):
        async for line in lines:
            if text in line:
                return line
    raise AssertionError(f"the stream ended without {text!r}")


async def test_page_calls_and_streams_below_a_path(
    settings: Settings, transitions: Transitions
) -> None:
    await transitions.announce(TASKS)
    async with (
        served(outer(settings)) as address,
        http_client(f"{address}/tools/jobs/", HEADERS) as client,
    ):
        assert (await client.get(address)).text == "home"
        moved = await client.get(f"{address}/tools/jobs")
        assert (moved.status_code, moved.headers["location"]) == (307, f"{address}/tools/jobs/")
        page = await client.get("")
        assert "assets/app.js" in page.text
        assert (await client.get("assets/app.js")).status_code == 200
        document = (await client.get("openapi.json")).json()
        assert document["servers"] == [{"url": "/tools/jobs"}]

        queued = await client.post("jobs", json=JOB)
        assert queued.status_code == 202
        job_id = queued.json()["job_id"]
        assert queued.headers["location"] == f"/tools/jobs/jobs/{job_id}"
        job = await client.get(f"{address}{queued.headers['location']}")
        assert job.json()["id"] == job_id

        url = f"{address.replace('http', 'ws')}/tools/jobs/ws/s1"
        async with connect(url, additional_headers=HEADERS, proxy=None, open_timeout=60) as ws:
            hello = json.loads(await ws.recv())
            assert [known["id"] for known in hello["jobs"]] == [job_id]
            async with client.stream("GET", "sessions/s1/events") as stream:
                lines = stream.aiter_lines()
                assert await line_with(lines, job_id)
                await client.post(f"jobs/{job_id}/cancel")
                event = json.loads(await ws.recv())
                assert (event["type"], event["job_id"]) == ("job.cancelled", job_id)
                assert await line_with(lines, "job.cancelled")

        async with Client(f"{address}/tools/jobs", API_KEY) as python:
            assert (await python.job(job_id)).status == "cancelled"


async def test_the_public_url_says_where_clients_see_it(
    settings: Settings, transitions: Transitions
) -> None:
    await transitions.announce(TASKS)
    public = dataclasses.replace(settings, public_url="https://app.example.com/deep/jobs/")
    async with (
        served(outer(public)) as address,
        http_client(f"{address}/tools/jobs/", HEADERS) as client,
    ):
        queued = await client.post("jobs", json=JOB)
        assert queued.headers["location"] == f"/deep/jobs/jobs/{queued.json()['job_id']}"


async def test_an_app_that_nobody_started_says_so(settings: Settings) -> None:
    app = Starlette(routes=[Mount("/jobs", create_app(settings))])
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
        with pytest.raises(RuntimeError, match=r"enter hub\.app\.lifespan\(app\)"):
            await client.get("/jobs/readyz")
