"""Who may see a job, and what of it, and who may do what with it."""

from __future__ import annotations

from typing import Any

from hub.jobs import new_job_id
from hub.store import Store
from hub.transitions import Transitions
from tests.announced import Hand
from tests.integration.api_jobs.calls import echo, get, pointers, post
from tests.running_hub import Hub


async def test_webhook_urls_are_for_api_keys(hub: Hub, hand: Hand) -> None:
    body = {
        "task": "echo",
        "params": {"text": "hi"},
        "session_id": "s1",
        "webhook_url": "https://example.com/hook",
    }
    async with hub.as_(hub.token("s1")) as ada:
        assert pointers(await post(ada, "/jobs", body, 422)) == ["/webhook_url"]
    job = (await post(hub.client, "/jobs", body))["job"]
    async with hub.as_(hub.token("s1")) as ada:
        assert (await get(ada, f"/jobs/{job['id']}"))["webhook_url"] is None
    async with hub.as_(hub.token("s1", scope="admin")) as admin:
        assert (await get(admin, f"/jobs/{job['id']}"))["webhook_url"] == body["webhook_url"]


async def test_tracebacks_are_for_api_keys(hub: Hub, hand: Hand, transitions: Transitions) -> None:
    job = await echo(hub)
    claim = await hand.claim()
    error = b'{"code":"permanent","message":"broken"}'
    await transitions.finish(claim.job_id, claim.token, "failed", error, b'"Traceback: secret"')
    path = f"/jobs/{job['id']}"
    assert (await get(hub.client, path))["error"]["traceback"] == "Traceback: secret"
    async with hub.as_(hub.token("s1")) as ada:
        assert (await get(ada, path))["error"] == {"code": "permanent", "message": "broken"}
        assert "secret" not in (await ada.get("/jobs?session_id=s1")).text


async def test_a_foreign_job_is_an_unknown_one(hub: Hub, hand: Hand) -> None:
    job = await echo(hub, "s1")
    unknown = new_job_id("s1")
    calls: list[tuple[str, str, Any]] = [
        ("GET", "", None),
        ("GET", "/logs", None),
        ("POST", "/cancel", {}),
        ("POST", "/retry", {}),
        ("POST", "/input", {"input_id": "x", "value": "y"}),
        ("POST", "/events", {"token": "x", "events": []}),
    ]
    async with hub.as_(hub.token("s2")) as eve:
        for method, path, body in calls:
            answers = []
            for job_id in (job["id"], unknown):
                reply = await eve.request(method, f"/jobs/{job_id}{path}", json=body)
                answers.append((reply.status_code, reply.text.replace(job_id, "ID")))
            assert answers[0] == answers[1]
            assert answers[0][0] == 404
        for bad in ("x", job["id"].upper(), "x" * 500, "%00"):
            assert (await eve.get(f"/jobs/{bad}")).status_code == 404
    assert (await get(hub.client, f"/jobs/{job['id']}"))["status"] == "pending"


async def test_each_call_needs_its_scope(hub: Hub, hand: Hand) -> None:
    job = await echo(hub)
    calls: list[tuple[str, str, str, Any]] = [
        ("read", "GET", f"/jobs/{job['id']}", None),
        ("read", "GET", f"/jobs/{job['id']}/logs", None),
        ("read", "GET", "/jobs?session_id=s1", None),
        ("cancel", "POST", f"/jobs/{job['id']}/cancel", {}),
        ("enqueue", "POST", f"/jobs/{job['id']}/retry", {}),
        ("enqueue", "POST", f"/jobs/{job['id']}/events", {"token": "x"}),
        ("enqueue", "POST", "/jobs", {"task": "echo", "params": {"text": "x"}, "session_id": "s1"}),
    ]
    scopes = {"read", "cancel", "enqueue", "input", "approve"}
    for scope, method, path, body in calls:
        without = " ".join(scopes - {scope})
        async with hub.as_(hub.token("s1", scope=without)) as ada:
            reply = await ada.request(method, path, json=body)
            assert reply.status_code == 403, (scope, path)
            assert f"scope {scope}" in reply.json()["detail"]


async def test_agent_jobs_are_for_admins(hub: Hub, hand: Hand, store: Store) -> None:
    await store.say("s1", "user", "m1", "hello", turn=True)
    claim = await hand.claim()
    assert claim.task == "agent.turn"
    async with hub.as_(hub.token("s1")) as ada:
        assert (await ada.get(f"/jobs/{claim.job_id}")).status_code == 404
        assert (await ada.post(f"/jobs/{claim.job_id}/cancel")).status_code == 404
        assert (await get(ada, "/jobs?session_id=s1"))["jobs"] == []
    assert (await get(hub.client, f"/jobs/{claim.job_id}"))["task"] == "agent.turn"
    await hand_end(hub, claim.job_id, claim.token)
    assert (await hub.client.post(f"/jobs/{claim.job_id}/retry")).status_code == 409


async def hand_end(hub: Hub, job_id: str, token: str) -> None:
    await hub.services.transitions.finish(job_id, token, "completed", b"null")


async def test_only_admins_list_without_a_session(hub: Hub, hand: Hand) -> None:
    async with hub.as_(hub.token("s1")) as ada:
        await get(ada, "/jobs", 403)
        await get(ada, "/jobs?session_id=s2", 403)
        assert (await get(ada, "/jobs?session_id=s1"))["jobs"] == []
    async with hub.as_(hub.token("s1", scope="admin")) as admin:
        await get(admin, "/jobs")


async def test_a_confirm_is_for_people_who_may_approve(hub: Hub, hand: Hand) -> None:
    job = (await post(hub.client, "/jobs", {"task": "deploy", "session_id": "s1"}))["job"]
    path, yes = f"/jobs/{job['id']}/input", {"input_id": "confirm", "value": "yes"}
    async with hub.as_(hub.token("s1", scope="read input admin")) as agent:
        assert "approve" in (await post(agent, path, yes, 403))["detail"]
    async with hub.as_(hub.token("s1", scope="approve")) as ada:
        problem = await post(ada, path, {**yes, "value": "maybe"}, 422)
        assert problem["errors"] == [{"pointer": "/value", "detail": "must be one of: yes, no"}]
        await post(ada, path, {**yes, "input_id": "other"}, 409)
        for _ in range(2):
            assert (await post(ada, path, yes, 200))["status"] == "pending"
        await post(ada, path, {**yes, "value": "no"}, 409)
    assert await hand.finish() == job["id"]
