"""examples/openai_loop.py, with a model that does as a script says."""

from __future__ import annotations

import asyncio
import json

import pytest

from hub.transitions import Transitions
from tests.announced import TASKS, Hand
from tests.example import running_example
from tests.model_server import calls, model_server, says
from tests.running_hub import Hub


@pytest.mark.slow
async def test_a_model_starts_a_job_and_tells_of_its_end(
    hub: Hub, transitions: Transitions
) -> None:
    await transitions.announce(TASKS)
    hand = Hand(transitions)
    async with model_server() as server:
        ids: list[str] = []

        async def checks(writer: asyncio.StreamWriter) -> None:
            [job] = (await hub.client.get("/jobs?session_id=s1")).json()["jobs"]
            ids.append(job["id"])
            await calls(("check_job_status", json.dumps({"job_id": job["id"], "wait": 45})))(writer)

        server.script += [
            calls(("run_echo_background", '{"text": 7}')),
            calls(("run_echo_background", '{"text": "hi"}'), words="Once more. "),
            checks,
            says("It ", "said ", "hi."),
        ]
        async with running_example(
            *("openai_loop.py", "s1", "Say hi."),
            JOBCAST_URL=hub.url,
            JOBCAST_TOKEN=hub.token("s1"),
            OPENAI_BASE_URL=server.url,
            OPENAI_API_KEY="key",
            MODEL="scripted",
        ) as loop:
            await loop.says('[run_echo_background {"text": 7}]')
            await loop.says('Once more. [run_echo_background {"text": "hi"}]')
            await loop.says("[check_job_status")
            await hand.finish(b'{"said":"hi"}')
            await loop.says("It said hi.")
            assert await loop.ends() == 0
    first, second, third, last = server.asked
    assert {tool["function"]["name"] for tool in first["tools"]} >= {"start_job", "list_jobs"}
    assert "params/text" in second["messages"][-1]["content"]
    assert f"Started job {ids[0]}" in third["messages"][-1]["content"]
    assert 'Result (JSON): {"said":"hi"}' in last["messages"][-1]["content"]
    assert [each["role"] for each in last["messages"]] == [
        *("system", "user"),
        *("assistant", "tool") * 3,
    ]
