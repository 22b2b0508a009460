"""The hub as a process: its commands, its address, its log and its end."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import Any

import httpx2
import jwt
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from hub.transitions import Transitions
from tests.announced import TASKS
from tests.conftest import API_KEY, SECRET, Server, wait_until
from tests.hub_process import run, serving
from tests.running_hub import NO_TLS, Hub, http_client


async def test_it_serves_where_it_says_and_ends_on_sigterm(valkey: Server) -> None:
    async with serving(valkey.url) as (process, url):
        headers = {"Authorization": f"Bearer {API_KEY}"}
        async with http_client(url, headers) as client:
            assert (await client.get("/jobs")).status_code == 200
        async with http_client(url) as nobody:
            await nobody.get("/jobs?token=a.secret.token")
            await nobody.get("/sessions/s1/events?token=a.secret.token")
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            out, _ = await process.communicate()
        assert b"GET /jobs?token=(hidden)" in out
        assert b"secret" not in out
        assert b"Traceback" not in out


async def test_flags_win_over_variables(valkey: Server) -> None:
    code, _, err = await run(
        "hub", "--secret", "short", JOBCAST_SECRET=SECRET, JOBCAST_REDIS_URL=valkey.url
    )
    assert code == 2
    assert err.startswith("jobcast: JOBCAST_SECRET has 5 bytes")


async def test_it_says_in_a_line_why_it_does_not_start(valkey: Server) -> None:
    cases: list[tuple[dict[str, str], str]] = [
        ({}, "JOBCAST_SECRET has 0 bytes"),
        ({"JOBCAST_SECRET": SECRET, "JOBCAST_API_KEYS": "a"}, "name:key"),
        ({"JOBCAST_SECRET": SECRET, "JOBCAST_ORIGINS": "*"}, "JOBCAST_ORIGINS"),
        ({"JOBCAST_SECRET": SECRET, "JOBCAST_PORT": "x"}, "JOBCAST_PORT"),
        (
            {"JOBCAST_SECRET": SECRET, "JOBCAST_REDIS_URL": "redis://127.0.0.1:1/0"},
            "Redis cannot be reached",
        ),
    ]
    for variables, why in cases:
        code, out, err = await run("hub", **{"JOBCAST_REDIS_URL": valkey.url, **variables})
        assert (code, out) == (2, ""), variables
        assert err.startswith("jobcast: ")
        assert why in err
        assert "Traceback" not in err


async def test_tokens_are_minted_with_the_secret() -> None:
    args = (
        "--sub",
        "ada",
        "--session",
        "s1",
        "--session",
        "team:*",
        "--scope",
        "read",
        "--ttl",
        "60",
    )
    code, out, _ = await run("token", *args, JOBCAST_SECRET=SECRET)
    claims = jwt.decode(out.strip(), SECRET, algorithms=["HS256"])
    assert code == 0
    assert (claims["sub"], claims["sessions"], claims["scope"]) == ("ada", ["s1", "team:*"], "read")
    code, out, err = await run("token", "--sub", "ada", JOBCAST_SECRET=SECRET)
    assert (code, out) == (2, "")
    assert "/sessions" in err
    code, _, err = await run("token", "--sub", "ada", "--session", "s1")
    assert code == 2
    assert "JOBCAST_SECRET" in err


async def test_a_drain_ends_waits(hub: Hub, transitions: Transitions) -> None:
    await transitions.announce(TASKS)
    body = {"task": "echo", "params": {"text": "hi"}, "session_id": "s1"}
    job_id = (await hub.client.post("/jobs", json=body)).json()["job_id"]
    waiting = asyncio.create_task(hub.client.get(f"/jobs/{job_id}?wait=60"))

    async def waits() -> bool:
        return hub.services.fanout.sessions > 0

    await wait_until(waits, "the hub waits for the job")
    hub.server.should_exit = True
    async with asyncio.timeout(60):
        reply = await waiting
    assert (reply.status_code, reply.json()["status"]) == (200, "pending")


async def test_a_drain_says_goodbye_to_streams(hub: Hub) -> None:
    url = hub.url.replace("http://", "ws://")
    headers = {"Authorization": f"Bearer {API_KEY}"}
    async with connect(f"{url}/ws/s1", additional_headers=headers, open_timeout=60) as socket:
        assert json.loads(await socket.recv())["type"] == "hello"
        async with hub.client.stream("GET", "/sessions/s1/events") as events:
            lines = events.aiter_lines()
            async with asyncio.timeout(60):
                while not (await anext(lines)).startswith("data:"):
                    pass
                hub.server.should_exit = True
                goodbye = json.loads(await socket.recv())
                assert (goodbye["type"], goodbye["code"]) == ("goodbye", 1001)
                assert goodbye["reconnect_after"] > 0
                with pytest.raises(ConnectionClosed):
                    await socket.recv()
                assert socket.close_code == 1001
                assert [line async for line in lines if '"type":"goodbye"' in line]


async def test_a_caller_that_goes_away_waits_no_longer(hub: Hub, transitions: Transitions) -> None:
    await transitions.announce(TASKS)
    body = {"task": "echo", "params": {"text": "hi"}, "session_id": "s1"}
    job_id = (await hub.client.post("/jobs", json=body)).json()["job_id"]

    async def listeners() -> int:
        return sum(len(s.listeners) for s in hub.services.fanout._sessions.values())

    async with hub.as_(API_KEY) as client:
        waiting = asyncio.create_task(client.get(f"/jobs/{job_id}?wait=60"))

        async def waits() -> bool:
            return await listeners() == 1

        await wait_until(waits, "the hub waits for the job")
        waiting.cancel()

    async def gone() -> bool:
        return await listeners() == 0

    await wait_until(gone, "nobody waits any more")


async def test_many_calls_at_once_are_all_answered(hub: Hub, transitions: Transitions) -> None:
    await transitions.announce(TASKS)
    limits = httpx2.Limits(max_connections=200)
    headers = {"Authorization": f"Bearer {API_KEY}"}
    body = {"task": "echo", "params": {"text": "hi"}, "session_id": "s1"}
    job_id = (await hub.client.post("/jobs", json=body)).json()["job_id"]
    async with httpx2.AsyncClient(
        base_url=hub.url, headers=headers, limits=limits, timeout=60, verify=NO_TLS
    ) as client:

        async def one(n: int) -> Any:
            if n % 2:
                return await client.get(f"/jobs/{job_id}")
            return await client.get("/sessions/s1")

        replies = await asyncio.gather(*(one(n) for n in range(200)))
    assert {reply.status_code for reply in replies} == {200}
