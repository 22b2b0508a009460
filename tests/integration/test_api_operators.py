"""Queues, workers, tools, health and the document of the API."""

from __future__ import annotations

import json
from typing import Any

import jsonschema_rs
import pytest
from starlette.routing import Route

from hub.api import OPERATIONS
from hub.store import Store
from hub.transitions import Transitions, heartbeat_args
from tests.announced import TASKS, Hand
from tests.conftest import wait_until
from tests.running_hub import Hub


@pytest.fixture
async def hand(hub: Hub, transitions: Transitions) -> Hand:
    await transitions.announce(TASKS)
    return Hand(transitions)


async def echo(hub: Hub, **more: Any) -> str:
    body = {"task": "echo", "params": {"text": "hi"}, "session_id": "s1", **more}
    reply = await hub.client.post("/jobs", json=body)
    assert reply.status_code == 202
    return str(reply.json()["job_id"])


async def queue(hub: Hub, name: str) -> dict[str, Any]:
    lines = (await hub.client.get("/queues")).json()["queues"]
    found: dict[str, Any] = next(line for line in lines if line["queue"] == name)
    return found


async def test_queues(hub: Hub, hand: Hand, transitions: Transitions) -> None:
    await echo(hub)
    claim = await hand.claim()
    await transitions.finish(
        claim.job_id, claim.token, "failed", b'{"code":"permanent","message":"x"}'
    )
    for _ in range(3):
        await echo(hub)
    await hand.claim()
    await echo(hub, delay=60)
    line = await queue(hub, "default")
    assert line["oldest_age"] >= 0
    assert {**line, "oldest_age": None} == {
        "queue": "default",
        "depth": 2,
        "oldest_age": None,
        "running": 1,
        "delayed": 1,
        "parked": 0,
        "dead": 1,
        "paused": False,
    }


async def test_pausing(hub: Hub, hand: Hand, transitions: Transitions) -> None:
    job_id = await echo(hub)
    for _ in range(2):
        reply = await hub.client.post("/queues/default/pause")
        assert (reply.status_code, reply.json()) == (200, {"queue": "default", "paused": True})
    assert (await queue(hub, "default"))["paused"]
    claim = await transitions.claim("w", "r", queues=["default"], tasks=["echo"], lease=30, limit=1)
    assert claim == []
    reply = await hub.client.post("/queues/default/resume", json={})
    assert reply.json() == {"queue": "default", "paused": False}
    assert (await hand.claim()).job_id == job_id
    assert (await hub.client.post("/queues/a%20b/pause")).status_code == 422


async def test_workers(hub: Hub, hand: Hand, transitions: Transitions) -> None:
    job_id = await echo(hub)
    claim = await hand.claim()
    facts = b'{"host":"h","pid":7}'
    args = heartbeat_args("hand", 30, [(job_id, claim.token)], facts, ",echo,", ",default,ops,")
    await transitions._run("heartbeat", *args)
    [worker] = (await hub.client.get("/workers")).json()["workers"]
    assert (worker["worker"], worker["facts"]) == ("hand", {"host": "h", "pid": 7})
    assert (worker["tasks"], worker["queues"]) == (["echo"], ["default", "ops"])
    [held] = worker["jobs"]
    assert (held["job_id"], held["task"], held["status"]) == (job_id, "echo", "running")


async def test_operators_only(hub: Hub) -> None:
    calls = [
        ("GET", "/queues"),
        ("GET", "/workers"),
        ("POST", "/queues/default/pause"),
        ("POST", "/queues/default/resume"),
        ("GET", "/sessions"),
    ]
    async with hub.as_(hub.token("s1", "chat:*")) as ada:
        for method, path in calls:
            reply = await ada.request(method, path)
            assert reply.status_code == 403, path
            assert "admin" in reply.json()["detail"]
    async with hub.as_(hub.token("s1", scope="admin")) as admin:
        for method, path in calls:
            assert (await admin.request(method, path)).status_code == 200, path


async def test_tools(hub: Hub, hand: Hand) -> None:
    async with hub.as_(hub.token("s1", scope="read")) as agent:
        tools = (await agent.get("/tools")).json()
        names = [tool["function"]["name"] for tool in tools]
        assert names == [
            "start_job",
            "check_job_status",
            "cancel_job",
            "list_jobs",
            "answer_job",
            "run_deploy_background",
            "run_echo_background",
        ]
        assert (await agent.get("/tools?format=openai")).json() == tools
        listed = (await agent.get("/tools?format=mcp")).json()["tools"]
        assert [tool["name"] for tool in listed] == names
        reply = await agent.get("/tools?format=gantz")
        assert reply.headers["content-type"].startswith("application/yaml")
        assert f"{hub.url}/jobs" in reply.text
        assert (await agent.get("/tools?format=xml")).status_code == 422
    async with hub.as_(hub.token("s1", scope="cancel")) as other:
        assert (await other.get("/tools")).status_code == 403


async def test_health(hub: Hub) -> None:
    async with hub.as_(None) as nobody:
        assert (await nobody.get("/healthz")).json() == {"status": "ok"}

        async def ready() -> bool:
            return (await nobody.get("/readyz")).status_code == 200

        await wait_until(ready, "a probe went through Redis and back")
        hub.services.draining.set()
        reply = await nobody.get("/readyz")
        assert reply.status_code == 503
        assert reply.headers["retry-after"]


async def document(hub: Hub) -> dict[str, Any]:
    async with hub.as_(None) as nobody:
        reply = await nobody.get("/openapi.json")
    assert reply.status_code == 200
    found: dict[str, Any] = reply.json()
    return found


async def test_the_document_has_every_route(hub: Hub) -> None:
    told = await document(hub)
    served = {
        (route.path, method.lower())
        for route in hub.server.app.routes
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
        if route.path not in ("/", "/assets/{path:path}", "/openapi.json")
    }
    assert {(path, m) for path, ways in told["paths"].items() for m in ways} == served
    assert len(served) == len(OPERATIONS)


async def test_the_document_is_whole(hub: Hub) -> None:
    told = await document(hub)
    assert told["openapi"].startswith("3.1.")
    assert {"title", "version"} <= set(told["info"])
    for name, schema in told["components"]["schemas"].items():
        assert jsonschema_rs.meta.is_valid(schema), name
    for reference in references(told):
        at: Any = told
        assert reference.startswith("#/")
        for step in reference[2:].split("/"):
            at = at[step]
    ids = [way["operationId"] for ways in told["paths"].values() for way in ways.values()]
    assert len(set(ids)) == len(ids)
    for path, ways in told["paths"].items():
        names = {part[1:-1] for part in path.split("/") if part.startswith("{")}
        for way in ways.values():
            inside = {p["name"] for p in way["parameters"] if p["in"] == "path"}
            assert inside == names, path
            assert way["responses"]
            assert all(
                answer.get("description") or "$ref" in answer
                for answer in way["responses"].values()
            )
    assert "(?!" not in json.dumps(told)


def references(part: Any) -> list[str]:
    if isinstance(part, dict):
        own = [part["$ref"]] if isinstance(part.get("$ref"), str) else []
        return own + [r for value in part.values() for r in references(value)]
    return [r for item in part for r in references(item)] if isinstance(part, list) else []


async def test_answers_are_as_the_document_says(hub: Hub, hand: Hand, store: Store) -> None:
    told = await document(hub)
    job_id = await echo(hub)
    await store.say("s1", "user", "m1", "hello")
    calls = [
        ("/jobs", "/jobs"),
        ("/jobs/{job_id}", f"/jobs/{job_id}"),
        ("/jobs/{job_id}/logs", f"/jobs/{job_id}/logs"),
        ("/sessions", "/sessions"),
        ("/sessions/{session_id}", "/sessions/s1"),
        ("/sessions/{session_id}/messages", "/sessions/s1/messages"),
        ("/queues", "/queues"),
        ("/workers", "/workers"),
    ]
    for template, path in calls:
        schema = told["paths"][template]["get"]["responses"]["200"]["content"]["application/json"]
        whole = {**schema["schema"], "components": told["components"]}
        jsonschema_rs.validator_for(whole).validate((await hub.client.get(path)).json())
    problem = {"$ref": "#/components/schemas/Problem", "components": told["components"]}
    reply = await hub.client.post("/jobs", json={"task": 1})
    jsonschema_rs.validator_for(problem).validate(reply.json())
