"""MCP with the official client: both transports, and both eras of the protocol."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import httpx2
import mcp_types as types
import pytest
from mcp import Client, StdioServerParameters
from mcp.client import ClientExtension
from mcp.client.extension import ClaimContext, ResultClaim
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import ResourceUpdated

from tests.announced import TASKS, Hand
from tests.conftest import wait_until
from tests.running_hub import Hub

MODERN = "2026-07-28"
UNKNOWN = "01991f00-0000-7000-8000-000000000000"


@pytest.fixture
async def hand(hub: Hub) -> Hand:
    await hub.services.transitions.announce(TASKS)
    return Hand(hub.services.transitions)


@asynccontextmanager
async def over_http(hub: Hub, token: str, query: str = "", **more: Any) -> AsyncIterator[Client]:
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx2.AsyncClient(headers=headers, timeout=60) as http:
        transport = streamable_http_client(f"{hub.url}/mcp{query}", http_client=http)
        async with Client(transport, **more) as client:
            yield client


@asynccontextmanager
async def over_stdio(hub: Hub, token: str, **more: Any) -> AsyncIterator[Client]:
    server = StdioServerParameters(
        command=sys.executable,
        args=["-m", "worker.cli", "mcp", "--url", hub.url, "--session", "s1"],
        env={"JOBCAST_TOKEN": token},
    )
    async with Client(server, **more) as client:
        yield client


def text_of(result: types.CallToolResult) -> str:
    [block] = result.content
    assert isinstance(block, types.TextContent)
    return block.text


async def start(client: Client, text: str = "hi") -> str:
    result = await client.call_tool("run_echo_background", {"text": text})
    assert not result.is_error, text_of(result)
    job_id: str = result.structured_content["job_id"]
    assert f"Started job {job_id}" in text_of(result)
    return job_id


async def work_through(hub: Hub, hand: Hand, client: Client) -> None:
    """The whole way of a job, as an agent sees it."""
    names = [tool.name for tool in (await client.list_tools()).tools]
    assert {"start_job", "check_job_status", "run_echo_background"} <= set(names)
    job_id = await start(client)
    steps: asyncio.Queue[tuple[float, str | None]] = asyncio.Queue()

    async def heard(progress: float, total: float | None, message: str | None) -> None:
        await steps.put((progress, message))

    args = {"job_id": job_id, "wait": 45}
    async with asyncio.TaskGroup() as group:
        call = client.call_tool("check_job_status", args, progress_callback=heard)
        waiting = group.create_task(call)
        assert (await steps.get())[1] == "pending"
        claim = await hand.claim()
        seen = [await steps.get()]
        said = b'{"percent":50.0,"message":"halfway"}'
        await hub.services.transitions.progress(claim.job_id, claim.token, said)
        while seen[-1][1] != "halfway":
            seen.append(await steps.get())
        assert seen[-1][0] == 50.0
        done = b'{"said":"hi"}'
        await hub.services.transitions.finish(claim.job_id, claim.token, "completed", done)
    assert not waiting.result().is_error
    assert 'Result (JSON): {"said":"hi"}' in text_of(waiting.result())
    assert waiting.result().structured_content == {"job_id": job_id, "status": "completed"}
    uri = f"job://{job_id}"
    assert uri in [each.uri for each in (await client.list_resources()).resources]
    [content] = (await client.read_resource(uri)).contents
    assert isinstance(content, types.TextResourceContents)
    assert "is completed" in content.text
    made = await hub.client.post(
        "/jobs", json={"task": "echo", "params": {"text": "x"}, "session_id": "s2"}
    )
    foreign = made.json()["job_id"]
    for other in (foreign, UNKNOWN, "none"):
        result = await client.call_tool("check_job_status", {"job_id": other})
        assert result.is_error
        assert text_of(result).endswith(f"There is no job {other}.")
        with pytest.raises(MCPError, match="There is no resource"):
            await client.read_resource(f"job://{other}")
    result = await client.call_tool("fly", {})
    assert result.is_error
    result = await client.call_tool("run_echo_background", {"text": 7})
    assert (result.is_error, "params/text" in text_of(result)) == (True, True)
    assert (await hub.client.post(f"/jobs/{foreign}/cancel")).status_code == 202
    failed = await start(client)
    claim = await hand.claim()
    await hub.services.transitions.finish(
        claim.job_id, claim.token, "failed", b'{"code":"permanent","message":"no luck"}'
    )
    result = await client.call_tool("check_job_status", {"job_id": failed})
    assert (result.is_error, "no luck" in text_of(result)) == (True, True)


@pytest.mark.parametrize("mode", [MODERN, "legacy"])
async def test_a_job_over_http(hub: Hub, hand: Hand, mode: str) -> None:
    async with over_http(hub, hub.token("s1"), mode=mode) as client:
        await work_through(hub, hand, client)


@pytest.mark.parametrize("mode", [MODERN, pytest.param("legacy", marks=pytest.mark.slow)])
async def test_a_job_over_stdio(hub: Hub, hand: Hand, mode: str) -> None:
    async with over_stdio(hub, hub.token("s1"), mode=mode) as client:
        await work_through(hub, hand, client)


@pytest.mark.parametrize("way", [over_http, pytest.param(over_stdio, marks=pytest.mark.slow)])
async def test_a_resource_is_followed(hub: Hub, hand: Hand, way: Any) -> None:
    made = await hub.client.post(
        "/jobs", json={"task": "echo", "params": {"text": "x"}, "session_id": "s2"}
    )
    foreign = f"job://{made.json()['job_id']}"
    async with way(hub, hub.token("s1"), mode=MODERN) as client:
        uri = f"job://{await start(client)}"
        async with client.listen(resource_subscriptions=[uri, foreign]) as news:
            assert news.honored.resource_subscriptions == [uri]
            await hand.finish()
            await hand.finish()
            assert await anext(news) == ResourceUpdated(uri)


# The older protocol's call is deprecated in the client, and still what older clients send.
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")
async def test_a_resource_is_subscribed_to_as_it_was_before(hub: Hub, hand: Hand) -> None:
    news: asyncio.Queue[Any] = asyncio.Queue()
    async with over_stdio(hub, hub.token("s1"), mode="legacy", message_handler=news.put) as client:
        job_id = await start(client)
        with pytest.raises(MCPError):
            await client.session.subscribe_resource(f"job://{UNKNOWN}")
        await client.session.subscribe_resource(f"job://{job_id}")
        await hand.finish()
        while not isinstance(found := await news.get(), types.ResourceUpdatedNotification):
            pass
        assert str(found.params.uri) == f"job://{job_id}"


async def test_a_wait_that_is_given_up_leaves_nothing(hub: Hub, hand: Hand) -> None:
    fanout = hub.services.fanout

    async def heard(progress: float, total: float | None, message: str | None) -> None:
        waits.set()

    async def gone() -> bool:
        return all(not session.listeners for session in fanout._sessions.values())

    async with over_http(hub, hub.token("s1"), mode=MODERN) as client:
        waits = asyncio.Event()
        args = {"job_id": await start(client), "wait": 45}
        call = client.call_tool("check_job_status", args, progress_callback=heard)
        task = asyncio.ensure_future(call)
        await waits.wait()
        assert not await gone()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await wait_until(gone, "nobody listens any more")
        await client.call_tool("list_jobs", {})


async def test_a_drain_ends_waits_and_streams(hub: Hub, hand: Hand) -> None:
    async with over_http(hub, hub.token("s1"), mode=MODERN) as client:
        job_id = await start(client)
        waits = asyncio.Event()

        async def heard(progress: float, total: float | None, message: str | None) -> None:
            waits.set()

        async with client.listen(resource_subscriptions=[f"job://{job_id}"]) as news:
            async with asyncio.TaskGroup() as group:
                call = client.call_tool(
                    "check_job_status", {"job_id": job_id, "wait": 45}, progress_callback=heard
                )
                waiting = group.create_task(call)
                await waits.wait()
                hub.services.draining.set()
            assert "is pending" in text_of(waiting.result())
            # The stream ends by itself; what began it is no news.
            assert {event async for event in news} <= {ResourceUpdated(f"job://{job_id}")}


async def test_who_may_come_in(hub: Hub, hand: Hand) -> None:
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}

    async def post(token: str | None, query: str = "", **headers: str) -> httpx2.Response:
        accept = {"Accept": "application/json, text/event-stream", **headers}
        async with hub.as_(token, **accept) as client:
            return await client.post(f"/mcp{query}", json=body)

    refused = await post(None)
    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"] == "Bearer"
    assert (await post("wrong")).status_code == 401
    assert (await post(hub.token("s1"), "?session_id=s2")).status_code == 403
    assert (await post(hub.token("s1", scope="cancel"))).status_code == 403
    for vague in (hub.token("s1", "s2"), hub.token("chat:*")):
        answered = await post(vague)
        assert answered.status_code == 422
        assert answered.json()["errors"][0]["pointer"] == "/session_id"
    assert (await post(hub.token("chat:*"), "?session_id=chat:main")).status_code == 200
    assert (await post(hub.token("s1"), "?sesion=s1")).status_code == 422
    assert (await post(hub.token("s1"), Origin="https://evil.example")).status_code == 403
    assert (await post(hub.token("s1"), Origin=hub.url)).status_code == 200
    async with hub.as_(hub.token("s1")) as client:
        answered = await client.get("/mcp")
        assert (answered.status_code, answered.headers["Allow"]) == (405, "POST")
        assert (await client.post("/mcp", content=b"{")).status_code == 400


async def test_rights_are_those_of_the_token(hub: Hub, hand: Hand) -> None:
    async with over_http(hub, hub.token("s1", scope="read"), mode=MODERN) as client:
        result = await client.call_tool("run_echo_background", {"text": "x"})
        assert (result.is_error, "scope enqueue" in text_of(result)) == (True, True)
    key = hub.client.headers["Authorization"].removeprefix("Bearer ")
    async with over_http(hub, key, "?session_id=s1", mode=MODERN) as client:
        result = await client.call_tool("run_deploy_background", {})
        job_id = result.structured_content["job_id"]
        assert "only the person can give it" in text_of(result).lower()
        [job] = (await hub.services.store.jobs(session_id="s1")).jobs
        assert job.input is not None
        args = {"job_id": job_id, "input_id": job.input.id, "value": "yes"}
        assert (await client.call_tool("answer_job", args)).is_error


class TaskMade(types.Result):
    """What a client that knows the extension is answered with."""

    result_type: Literal["task"] = "task"
    task_id: str
    status: str
    status_message: str | None = None


class Knows(ClientExtension):
    identifier = "io.modelcontextprotocol/tasks"

    def claims(self) -> list[ResultClaim[Any]]:
        return [ResultClaim(result_type="task", model=TaskMade, resolve=self.resolve)]

    async def resolve(self, made: TaskMade, ctx: ClaimContext) -> types.CallToolResult:
        raise AssertionError("the tests ask for the task itself")


class TaskState(types.Result):
    """What `tasks/get` answers; the other two answer nothing."""

    status: str = ""
    poll_interval_ms: int = 0
    result: dict[str, Any] | None = None
    input_requests: dict[str, Any] | None = None


class AskTask(types.Request[dict[str, Any], str]):
    method: str
    params: dict[str, Any]


async def test_jobs_are_tasks_for_whoever_knows_them(hub: Hub, hand: Hand) -> None:
    do = hub.services.transitions
    async with over_http(hub, hub.token("s1"), extensions=[Knows()]) as client:
        assert client.protocol_version == MODERN
        assert "io.modelcontextprotocol/tasks" in (client.server_capabilities.extensions or {})

        async def make() -> str:
            made = await client.session.call_tool(
                "run_echo_background", {"text": "x"}, allow_claimed=True
            )
            assert isinstance(made, TaskMade)
            assert made.status == "working"
            return made.task_id

        async def ask(method: str, task_id: str, **more: Any) -> dict[str, Any]:
            request = AskTask(method=f"tasks/{method}", params={"taskId": task_id, **more})
            found = await client.session.send_request(request, TaskState)
            return found.model_dump(by_alias=True)

        good, bad, gone = [await make() for _ in range(3)]
        claim = await hand.claim()
        assert claim.job_id == good
        members = b'"id":"q1","kind":"question","prompt":"Which?","options":["a","b"]'
        await do.ask(claim.job_id, claim.token, "q1", members)
        state = await ask("get", good)
        assert (state["status"], state["pollIntervalMs"] > 0) == ("input_required", True)
        asked = state["inputRequests"]["q1"]
        assert asked["method"] == "elicitation/create"
        assert asked["params"]["message"] == "Which?"
        nonsense = {"q1": {"action": "accept", "content": {"value": "c"}}}
        with pytest.raises(MCPError):
            await ask("update", good, inputResponses=nonsense)
        await ask("update", good, inputResponses={"q0": {}, "q1": {"action": "decline"}})
        assert (await ask("get", good))["status"] == "input_required"
        nonsense["q1"]["content"] = {"value": "b"}
        await ask("update", good, inputResponses=nonsense)
        assert (await ask("get", good))["status"] == "working"
        await do.finish(claim.job_id, claim.token, "completed", b'"b"')
        state = await ask("get", good)
        assert (state["status"], state["result"]["isError"]) == ("completed", False)
        claim = await hand.claim()
        await do.finish(
            claim.job_id, claim.token, "failed", b'{"code":"permanent","message":"no luck"}'
        )
        state = await ask("get", bad)
        assert (state["status"], state["result"]["isError"]) == ("completed", True)
        assert "no luck" in state["result"]["content"][0]["text"]
        await ask("cancel", gone)
        assert (await ask("get", gone))["status"] == "cancelled"
        await ask("cancel", gone)
        made = await hub.client.post(
            "/jobs", json={"task": "echo", "params": {"text": "x"}, "session_id": "s2"}
        )
        for method in ("get", "cancel"):
            for other in (made.json()["job_id"], UNKNOWN):
                with pytest.raises(MCPError, match="There is no such task"):
                    await ask(method, other)
        wrong = await client.session.call_tool("run_echo_background", {}, allow_claimed=True)
        assert isinstance(wrong, types.CallToolResult)
        assert wrong.is_error
