"""examples/websocket_client.py and examples/mcp_client.py, as their readers run them."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from hub.transitions import Transitions
from tests.announced import TASKS, Hand
from tests.example import running_example
from tests.proxy import Proxy
from tests.running_hub import Hub


@pytest.fixture
async def hand(hub: Hub, transitions: Transitions) -> Hand:
    await transitions.announce(TASKS)
    return Hand(transitions)


@pytest.fixture
async def proxy(hub: Hub) -> AsyncIterator[Proxy]:
    address = urlsplit(hub.url)
    async with Proxy(address.hostname or "", address.port or 0) as proxy:
        yield proxy


async def enqueue(hub: Hub, text: str = "hi") -> str:
    wanted = {"task": "echo", "params": {"text": text}, "session_id": "s1"}
    job_id: str = (await hub.client.post("/jobs", json=wanted)).json()["job_id"]
    return job_id


async def test_the_websocket_client_misses_nothing_and_tells_nothing_twice(
    hub: Hub, hand: Hand, proxy: Proxy, transitions: Transitions
) -> None:
    first = await enqueue(hub)
    url = f"http://127.0.0.1:{proxy.port}"
    async with running_example(
        "websocket_client.py", "s1", JOBCAST_URL=url, JOBCAST_TOKEN=hub.token("s1")
    ) as client:
        await client.says(f"{first} pending")
        claim = await hand.claim()
        await client.says(f"{first} running")
        said = [b'{"stream":"stdout","text":"a line"}']
        await transitions.log(claim.job_id, claim.token, 1, said)
        await client.says(f"{first} | a line")
        await transitions.progress(claim.job_id, claim.token, b'{"percent":50,"message":"half"}')
        await client.says(f"{first} running 50 % half")
        proxy.cut()
        await transitions.finish(claim.job_id, claim.token, "completed", b"7")
        second = await enqueue(hub)
        await hand.finish()
        await client.says(f"{second} completed")
        # Every status once and in order, though the connection was cut; which of the two jobs
        # comes first depends on when it was there again.
        told = [line.split()[:2] for line in client.lines if "|" not in line]
        told.remove([first, "running"])  # once more, with progress
        assert [status for job, status in told if job == first] == [
            *("pending", "running", "completed"),
        ]
        assert [status for job, status in told if job == second][-1] == "completed"


async def test_the_websocket_client_gives_up_where_it_may_not(hub: Hub) -> None:
    async with running_example(
        "websocket_client.py", "s2", JOBCAST_URL=hub.url, JOBCAST_TOKEN=hub.token("s1")
    ) as client:
        await client.says("refused: 4403")
        assert await client.ends() == 1


@pytest.mark.slow
@pytest.mark.parametrize("how", [(), ("--stdio",)], ids=["http", "stdio"])
async def test_the_mcp_client(hub: Hub, hand: Hand, how: tuple[str, ...]) -> None:
    async with running_example(
        *("mcp_client.py", *how, "echo", '{"text": "hi"}'),
        JOBCAST_URL=hub.url,
        JOBCAST_TOKEN=hub.token("s1"),
        JOBCAST_SESSION="s1",
        PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    ) as client:
        await client.says("check_job_status")
        await client.says("Started job")
        await client.says("pending")
        await hand.finish(b'{"said":"hi"}')
        await client.says('Result (JSON): {"said":"hi"}')
        assert await client.ends() == 0


@pytest.mark.slow
async def test_the_mcp_client_is_told_what_is_wrong(hub: Hub, hand: Hand) -> None:
    async with running_example(
        *("mcp_client.py", "no_such_task"),
        JOBCAST_URL=hub.url,
        JOBCAST_TOKEN=hub.token("s1"),
        JOBCAST_SESSION="s1",
    ) as client:
        assert await client.ends() == 1
        assert "no_such_task" in client.lines[-1]
