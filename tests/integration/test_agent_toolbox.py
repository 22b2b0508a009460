"""The agent's tools at work, within a hub, over HTTP, and on Redis itself."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from hub.agent import OwnDesk, Toolbox
from hub.agent.watch import watching
from hub.client import Client, Jobs
from hub.jobs import Job
from hub.principal import Principal
from tests.announced import TASKS, Hand
from tests.running_hub import Hub


@pytest.fixture
async def hand(hub: Hub) -> Hand:
    await hub.services.transitions.announce(TASKS)
    return Hand(hub.services.transitions)


def own(hub: Hub, scope: str = "read cancel enqueue input approve", *sessions: str) -> Toolbox:
    principal = Principal("token", "ann", sessions or ("s1",), frozenset(scope.split()))
    services = hub.services
    desk = OwnDesk(services.store, services.transitions, services.enqueuer, principal)
    return Toolbox(desk, watcher=watching(services.fanout))


@pytest.fixture(params=["own", "http", "redis"])
async def tools(request: pytest.FixtureRequest, hub: Hub, hand: Hand) -> AsyncIterator[Toolbox]:
    """The same tools by each way."""
    if request.param == "own":
        yield own(hub)
    elif request.param == "http":
        async with Client(hub.url, hub.token("s1")) as client:
            yield Toolbox.over(client)
    else:
        async with Jobs(hub.settings) as jobs:
            yield Toolbox(jobs)


async def newest(hub: Hub) -> Job:
    return (await hub.services.store.jobs(session_id="s1")).jobs[0]


async def test_a_job_is_started_checked_and_ends(hub: Hub, hand: Hand, tools: Toolbox) -> None:
    said = await tools.execute_tool("run_echo_background", '{"text": "hi"}', session_id="s1")
    job = await newest(hub)
    assert f"Started job {job.id} (echo)" in said
    assert json.loads(bytes(job.params)) == {"text": "hi"}
    args = {"job_id": job.id}
    said = await tools.execute_tool("check_job_status", args, session_id="s1")
    assert f"Job {job.id} (echo) is pending, attempt 1 of 2." in said
    claim = await hand.claim()
    line = b'{"stream":"stdout","text":"a line of its log"}'
    await hub.services.transitions.log(claim.job_id, claim.token, 1, [line])
    end = hub.services.transitions.finish
    await end(claim.job_id, claim.token, "completed", b'{"said":["hi"]}')
    told = await tools.call("check_job", args, session_id="s1")
    assert not told.failed
    assert "is completed" in told.text
    assert 'Result (JSON): {"said":["hi"]}\nLast log lines (of 1):\na line of its log' in told.text
    said = await tools.execute_tool("list_jobs", {}, session_id="s1")
    assert said.startswith(f"{job.id} echo: completed")
    said = await tools.execute_tool("list_jobs", {"status": "failed"}, session_id="s1")
    assert said == "There are no such jobs in this conversation."


async def test_start_and_cancel(hub: Hub, hand: Hand) -> None:
    tools = own(hub)
    args = {"task": "echo", "params": {"text": "hi"}}
    told = await tools.call("start_job", args, session_id="s1")
    assert told.job is not None
    said = await tools.execute_tool("cancel_job", {"job_id": told.job.id}, session_id="s1")
    assert said == f"Job {told.job.id} is cancelled."
    again = await tools.call("cancel_job", {"job_id": told.job.id}, session_id="s1")
    assert not again.failed


async def test_no_model_approves(hub: Hub, hand: Hand) -> None:
    tools = own(hub)
    said = await tools.execute_tool("run_deploy_background", {}, session_id="s1")
    assert "Deploy to staging?" in said
    job = await newest(hub)
    assert job.input is not None
    args = {"job_id": job.id, "input_id": job.input.id, "value": "yes"}
    told = await tools.call("answer_job", args, session_id="s1")
    assert told.failed
    assert "only a person can give" in told.text
    assert (await newest(hub)).status == "input_required"


async def test_a_question_is_answered(hub: Hub, hand: Hand) -> None:
    tools = own(hub)
    await tools.call("run_echo_background", {"text": "hi"}, session_id="s1")
    claim = await hand.claim()
    members = b'"id":"q1","kind":"question","prompt":"Which?","options":["a","b"]'
    await hub.services.transitions.ask(claim.job_id, claim.token, "q1", members)
    said = await tools.execute_tool("check_job", {"job_id": claim.job_id}, session_id="s1")
    assert "Which? Options: 'a', 'b'." in said
    args = {"job_id": claim.job_id, "input_id": "q1", "value": "c"}
    told = await tools.call("answer_job", args, session_id="s1")
    assert (told.failed, "value" in told.text) == (True, True)
    told = await tools.call("answer_job", {**args, "value": "b"}, session_id="s1")
    assert told.text == f"Answered. Job {claim.job_id} is running."


async def test_jobs_of_other_sessions_are_unknown(hub: Hub, hand: Hand, tools: Toolbox) -> None:
    made = await hub.client.post(
        "/jobs", json={"task": "echo", "params": {"text": "x"}, "session_id": "s2"}
    )
    job_id = made.json()["job_id"]
    unknown = "01991f00-0000-7000-8000-000000000000"
    for name, more in (
        ("check_job_status", {}),
        ("cancel_job", {}),
        ("answer_job", {"input_id": "q", "value": "v"}),
    ):
        said = [
            await tools.call(name, {"job_id": each, **more}, session_id="s1")
            for each in (job_id, unknown, "none")
        ]
        assert all(told.failed for told in said)
        assert {told.text.split()[-1] for told in said} == {f"{job_id}.", f"{unknown}.", "none."}
        assert len({told.text.rsplit(" ", 1)[0] for told in said}) == 1
    assert job_id not in await tools.execute_tool("list_jobs", {}, session_id="s1")
    job = await hub.services.store.job(job_id)
    assert job is not None
    assert job.status == "pending"


WRONG: list[tuple[str, dict[str, object] | str, str]] = [
    ("fly", {}, "there is no tool 'fly'. There are: start_job, check_job_status"),
    ("start_job", {"params": {}}, "- task: is required"),
    ("start_job", {"task": "fly", "params": {}}, "- task: "),
    ("run_echo_background", {}, "- params/text: is required"),
    ("run_echo_background", {"text": "x", "b": 1}, "- params/b: is not known here"),
    ("check_job_status", {"job_id": 7}, "- job_id: "),
    ("check_job_status", "{", "- arguments: are not JSON"),
    ("check_job_status", "[]", "- arguments: must be a JSON object"),
    ("check_job_status", "\ud800", "- arguments: are not JSON"),
    ("run_agent_turn_background", {}, "there is no tool"),
]


async def test_what_is_wrong_is_told(hub: Hub, hand: Hand) -> None:
    for name, args, text in WRONG:
        told = await own(hub).call(name, args, session_id="s1")
        assert told.failed
        assert text in told.text
    assert (await hub.services.store.jobs(session_id="s1")).jobs == []


async def test_rights_are_those_of_the_principal(hub: Hub, hand: Hand) -> None:
    reader = own(hub, "read")
    told = await reader.call("run_echo_background", {"text": "x"}, session_id="s1")
    assert (told.failed, "enqueue" in told.text) == (True, True)
    told = await own(hub).call("run_echo_background", {"text": "x"}, session_id="s2")
    assert (told.failed, "does not cover" in told.text) == (True, True)
    told = await own(hub, "cancel").call("list_jobs", session_id="s1")
    assert told.failed


@pytest.mark.parametrize("way", ["own", "http"])
async def test_a_wait_hears_of_progress_and_ends_with_the_job(
    hub: Hub, hand: Hand, way: str
) -> None:
    async with Client(hub.url, hub.token("s1")) as client:
        tools = own(hub) if way == "own" else Toolbox.over(client)
        told = await tools.call("run_echo_background", {"text": "hi"}, session_id="s1")
        assert told.job is not None
        heard: asyncio.Queue[Job] = asyncio.Queue()
        args = {"job_id": told.job.id, "wait": 45}
        async with asyncio.TaskGroup() as group:
            call = tools.call("check_job", args, session_id="s1", heard=heard.put)
            waiting = group.create_task(call)
            assert (await heard.get()).status == "pending"
            claim = await hand.claim()
            while (await heard.get()).status != "running":
                pass
            progress = b'{"percent":50.0}'
            await hub.services.transitions.progress(claim.job_id, claim.token, progress)
            while (await heard.get()).progress is None:
                pass
            await hub.services.transitions.finish(
                claim.job_id, claim.token, "failed", b'{"code":"permanent","message":"no"}'
            )
        assert waiting.result().failed
        assert "Error (permanent): no" in waiting.result().text


async def test_a_wait_ends_in_time(hub: Hub, hand: Hand) -> None:
    tools = own(hub)
    told = await tools.call("run_echo_background", {"text": "hi"}, session_id="s1")
    assert told.job is not None
    args = {"job_id": told.job.id, "wait": 0.05}
    said = await tools.execute_tool("check_job", args, session_id="s1")
    assert "is pending" in said
    told = await tools.call("check_job", {**args, "wait": 46}, session_id="s1")
    assert told.failed


async def test_the_formats_are_those_of_http(hub: Hub, hand: Hand) -> None:
    async with Client(hub.url, hub.token("s1")) as client:
        tools = Toolbox.over(client)
        answered = await hub.client.get("/tools")
        assert await tools.tools() == answered.json()
        answered = await hub.client.get("/tools?format=mcp")
        assert await tools.tools(format="mcp") == answered.json()
        answered = await hub.client.get("/tools?format=gantz")
        assert await tools.tools(format="gantz") == answered.text
