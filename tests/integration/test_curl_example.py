"""examples/sse.sh, as its reader runs it."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from hub.transitions import Transitions
from tests.announced import TASKS, Hand
from tests.conftest import API_KEY
from tests.hub_process import environment
from tests.node import missing
from tests.proxy import Proxy
from tests.running_hub import Hub

EXAMPLE = Path(__file__).parents[2] / "examples" / "sse.sh"


async def test_a_job_is_followed_to_its_end_though_the_stream_is_cut(
    hub: Hub, transitions: Transitions
) -> None:
    if shutil.which("curl") is None:
        missing("no curl here: apt-get install curl")
    await transitions.announce(TASKS)
    hand = Hand(transitions)
    host, port = urlsplit(hub.url).hostname or "", urlsplit(hub.url).port or 0
    async with Proxy(host, port) as proxy:
        process = await asyncio.create_subprocess_exec(
            *(EXAMPLE, "echo", '{"text": "hi"}'),
            env=environment(JOBCAST_URL=f"http://127.0.0.1:{proxy.port}", JOBCAST_API_KEY=API_KEY),
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        said: list[dict[str, Any]] = []

        async def hears(type_: str) -> None:
            assert process.stdout is not None
            async with asyncio.timeout(60):
                while not said or said[-1]["type"] != type_:
                    said.append(json.loads(await process.stdout.readline()))

        try:
            await hears("hello")
            claim = await hand.claim()
            await hears("job.running")
            proxy.cut()
            await hears("hello")
            await transitions.finish(claim.job_id, claim.token, "completed", b"7")
            await hears("job.completed")
            async with asyncio.timeout(60):
                assert await process.wait() == 0
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()
    types = [each["type"] for each in said]
    # The job is queued before it is listened to.
    assert types == ["hello", "job.running", "hello", "job.completed"]
    assert said[-1]["data"]["result"] == 7
    assert [each["resumed"] for each in said if each["type"] == "hello"] == [False, True]


async def test_what_is_refused_ends_it(hub: Hub) -> None:
    process = await asyncio.create_subprocess_exec(
        *(EXAMPLE, "no_such_task"),
        env=environment(JOBCAST_URL=hub.url, JOBCAST_API_KEY=API_KEY),
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        await process.communicate()
    assert process.returncode == 22  # curl's word for an HTTP error
