"""Jobs over HTTP, on a real hub and a real Valkey."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx2
import pytest

from hub.jobs import new_job_id
from hub.store import Store
from hub.transitions import Transitions
from tests.announced import TASKS, Hand
from tests.conftest import wait_until
from tests.running_hub import Hub


@pytest.fixture
async def hand(hub: Hub, transitions: Transitions) -> Hand:
    await transitions.announce(TASKS)
    return Hand(transitions)


async def post(
    client: httpx2.AsyncClient, path: str, body: Any, status: int = 202, idem: str | None = None
) -> dict[str, Any]:
    headers = {} if idem is None else {"Idempotency-Key": idem}
    reply = await client.post(path, json=body, headers=headers)
    assert reply.status_code == status, reply.text
    found: dict[str, Any] = reply.json()
    return found


async def get(client: httpx2.AsyncClient, path: str, status: int = 200) -> dict[str, Any]:
    reply = await client.get(path)
    assert reply.status_code == status, reply.text
    found: dict[str, Any] = reply.json()
    return found


async def echo(hub: Hub, session_id: str = "s1", **more: Any) -> dict[str, Any]:
    body = {"task": "echo", "params": {"text": "hi"}, "session_id": session_id, **more}
    job: dict[str, Any] = (await post(hub.client, "/jobs", body))["job"]
    return job


def pointers(problem: dict[str, Any]) -> list[str]:
    return [error["pointer"] for error in problem["errors"]]


async def test_a_job_is_queued_with_its_tasks_defaults(hub: Hub, hand: Hand) -> None:
    reply = await hub.client.post(
        "/jobs", json={"task": "echo", "params": {"text": "hi"}, "session_id": "s1"}
    )
    assert reply.status_code == 202
    body = reply.json()
    job = body["job"]
    assert reply.headers["location"] == f"/jobs/{body['job_id']}"
    assert set(body) == {"job_id", "status", "job"}
    assert (body["status"], job["id"]) == ("pending", body["job_id"])
    assert (job["queue"], job["timeout"], job["max_attempts"]) == ("default", 60, 2)
    assert job["params"] == {"text": "hi"}
    assert job["priority"] == 5
    assert await get(hub.client, f"/jobs/{job['id']}") == job


async def test_what_is_said_wins_over_defaults(hub: Hub, hand: Hand) -> None:
    job = await echo(
        hub,
        title="Say hi",
        queue="other",
        priority=0,
        timeout=1.5,
        max_attempts=7,
        metadata={"ticket": 12},
        key="k/1",
        webhook_url="https://example.com/hook",
    )
    assert job["title"] == "Say hi"
    assert (job["queue"], job["priority"], job["timeout"]) == ("other", 0, 1.5)
    assert (job["max_attempts"], job["metadata"]) == (7, {"ticket": 12})
    assert (job["key"], job["webhook_url"]) == ("k/1", "https://example.com/hook")


async def test_params_keep_every_digit_and_lose_their_spaces(hub: Hub, hand: Hand) -> None:
    params = b'{ "n" : 1.10,\n "big": 123456789012345678901, "e": [] }'
    raw = b'{"task": "x", "session_id": "s1", "queue": null, "params": ' + params + b"}"
    reply = await hub.client.post(
        "/jobs", content=raw, headers={"Content-Type": "application/json"}
    )
    assert reply.status_code == 202
    shown = (await hub.client.get(f"/jobs/{reply.json()['job_id']}")).text
    assert '"params":{"n":1.10,"big":123456789012345678901,"e":[]}' in shown


async def test_a_confirm_is_worded_with_params_and_defaults(hub: Hub, hand: Hand) -> None:
    for params, place in (({"environment": "prod"}, "prod"), ({}, "staging")):
        body = {"task": "deploy", "params": params, "session_id": "s1"}
        job = (await post(hub.client, "/jobs", body))["job"]
        assert job["status"] == "input_required"
        assert job["title"] == f"Deploy to {place}"
        assert job["input"]["prompt"] == f"Deploy to {place}?"
        assert job["input"]["options"] == ["yes", "no"]
        assert (job["input"]["kind"], job["queue"]) == ("confirm", "ops")


WRONG: list[tuple[dict[str, Any], list[str]]] = [
    ({"task": "unheard_of"}, ["/task"]),
    ({"task": "agent.turn"}, ["/task"]),
    ({"task": "has space"}, ["/task"]),
    ({"task": None}, ["/task"]),
    ({"params": []}, ["/params"]),
    ({"params": None}, ["/params"]),
    ({"params": {}}, ["/params/text"]),
    (
        {"params": {"text": 1, "times": 0, "x": 1}},
        ["/params/text", "/params/times", "/params/x"],
    ),
    ({"params": {"text": "x" * 21}}, ["/params/text"]),
    ({"session_id": ""}, ["/session_id"]),
    ({"session_id": "a\n"}, ["/session_id"]),
    ({"session_id": "x" * 129}, ["/session_id"]),
    ({"session_id": 'a","x":"'}, ["/session_id"]),
    ({"key": "a b"}, ["/key"]),
    ({"title": ""}, ["/title"]),
    ({"title": "x" * 201}, ["/title"]),
    ({"queue": "agent"}, ["/queue"]),
    ({"queue": "a:b"}, ["/queue"]),
    ({"priority": 10}, ["/priority"]),
    ({"priority": -1}, ["/priority"]),
    ({"priority": "5"}, ["/priority"]),
    ({"delay": -1}, ["/delay"]),
    ({"delay": 1e12}, ["/delay"]),
    ({"run_at": "tomorrow"}, ["/run_at"]),
    ({"run_at": "2026-01-01T00:00:00"}, ["/run_at"]),
    ({"run_at": "9999-01-01T00:00:00Z"}, ["/run_at"]),
    ({"run_at": "2026-01-01T00:00:00Z", "delay": 1}, ["/run_at"]),
    ({"expires_in": 0}, ["/expires_in"]),
    ({"timeout": 0}, ["/timeout"]),
    ({"timeout": 1e9}, ["/timeout"]),
    ({"max_attempts": 0}, ["/max_attempts"]),
    ({"max_attempts": 1.5}, ["/max_attempts"]),
    ({"durable": "yes"}, ["/durable"]),
    ({"webhook_url": "http://example.com"}, ["/webhook_url"]),
    ({"webhook_url": "https://127.0.0.1/x"}, ["/webhook_url"]),
    ({"metadata": [1]}, ["/metadata"]),
    ({"metadata": {"x": "y" * 65_536}}, ["/metadata"]),
    ({"nonsense": 1}, ["/nonsense"]),
    ({"session_id": 1, "task": 2, "priority": "x"}, ["/session_id", "/task", "/priority"]),
    ({"queue": None, "delay": 1, "max_attempts": 2}, ["/delay", "/max_attempts"]),
]


async def test_every_wrong_field_is_named(hub: Hub, hand: Hand, store: Store) -> None:
    for change, wrong in WRONG:
        body = {"task": "echo", "params": {"text": "hi"}, "session_id": "s1", **change}
        problem = await post(hub.client, "/jobs", body, 422)
        assert sorted(pointers(problem)) == sorted(wrong), change
    assert (await store.jobs()).jobs == []


async def test_an_unknown_task_is_told_those_that_are_there(hub: Hub, hand: Hand) -> None:
    problem = await post(hub.client, "/jobs", {"task": "nope", "session_id": "s1"}, 422)
    assert "deploy, echo" in problem["errors"][0]["detail"]
    assert "agent" not in problem["errors"][0]["detail"]


async def test_a_durable_job_waits_for_the_disk(hub: Hub, hand: Hand) -> None:
    assert (await echo(hub, durable=True))["status"] == "pending"


async def test_params_are_bounded(hub: Hub, hand: Hand) -> None:
    body = {"task": "x", "session_id": "s1", "queue": None, "params": {"x": "y" * 65_530}}
    problem = await post(hub.client, "/jobs", body, 422)
    assert pointers(problem) == ["/params"]
    body["params"] = {"x": "y" * 65_500}
    await post(hub.client, "/jobs", body)


async def test_deep_params_are_an_error_and_no_crash(hub: Hub, hand: Hand) -> None:
    deep = "[" * 500 + "]" * 500
    raw = f'{{"task":"echo","session_id":"s1","params":{{"text":{deep}}}}}'
    reply = await hub.client.post(
        "/jobs", content=raw.encode(), headers={"Content-Type": "application/json"}
    )
    assert reply.status_code == 422
    assert pointers(reply.json())[0].startswith("/params")


async def test_a_new_announcement_is_checked_against_at_once(
    hub: Hub, hand: Hand, transitions: Transitions
) -> None:
    await echo(hub)
    changed = {**TASKS["echo"], "params": {"type": "object", "required": ["word"]}}
    await transitions.announce({"echo": changed})
    body = {"task": "echo", "params": {"text": "hi"}, "session_id": "s1"}
    assert pointers(await post(hub.client, "/jobs", body, 422)) == ["/params/word"]


async def test_a_live_key_is_the_same_job(hub: Hub, hand: Hand) -> None:
    first = await echo(hub, key="k")
    body = {"task": "echo", "params": {"text": "other"}, "session_id": "s1", "key": "k"}
    assert (await post(hub.client, "/jobs", body, 200))["job_id"] == first["id"]
    assert (await echo(hub, "s2", key="k"))["id"] != first["id"]
    assert await hand.finish() == first["id"]
    assert (await post(hub.client, "/jobs", body))["job_id"] != first["id"]


async def test_an_idempotency_key_is_the_same_job(hub: Hub, hand: Hand) -> None:
    body = {"task": "echo", "params": {"text": "hi"}, "session_id": "s1"}
    first = await post(hub.client, "/jobs", body, idem="i 1")
    await hand.finish()
    again = await post(hub.client, "/jobs", body, 200, idem="i 1")
    assert again["job_id"] == first["job_id"]
    assert again["status"] == "completed"
    other = {**body, "params": {"text": "ho"}}
    await post(hub.client, "/jobs", other, 409, idem="i 1")
    elsewhere = {**body, "session_id": "s2"}
    fresh = await post(hub.client, "/jobs", elsewhere, idem="i 1")
    assert fresh["job_id"] != first["job_id"]
    async with hub.as_(hub.token("s1")) as ada:
        mine = await post(ada, "/jobs", body, idem="i 1")
        assert mine["job_id"] != first["job_id"]
    await post(hub.client, "/jobs", body, 422, idem="x" * 256)


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


# ------------------------------------------------------------------ wait


async def test_wait_answers_when_the_job_ends(hub: Hub, hand: Hand) -> None:
    job = await echo(hub)
    waiting = asyncio.create_task(get(hub.client, f"/jobs/{job['id']}?wait=30"))
    await hub_listens(hub)
    await hand.finish(b'{"said":"hi"}')
    async with asyncio.timeout(10):
        ended = await waiting
    assert (ended["status"], ended["result"]) == ("completed", {"said": "hi"})
    assert (await get(hub.client, f"/jobs/{job['id']}?wait=30"))["status"] == "completed"


async def hub_listens(hub: Hub) -> None:
    """Until somebody waits for something."""

    async def listens() -> bool:
        return hub.services.fanout.sessions > 0

    await wait_until(listens, "the hub listens to a session")


async def test_wait_answers_when_the_job_asks(
    hub: Hub, hand: Hand, transitions: Transitions
) -> None:
    job = await echo(hub)
    claim = await hand.claim()
    waiting = asyncio.create_task(get(hub.client, f"/jobs/{job['id']}?wait=30"))
    await hub_listens(hub)
    members = b'"id":"q","kind":"question","prompt":"Which?","options":["a","b"],"schema":null'
    await transitions.ask(claim.job_id, claim.token, "q", members)
    async with asyncio.timeout(10):
        assert (await waiting)["input"]["options"] == ["a", "b"]


async def test_wait_ends_with_its_time_and_answers_the_job_as_it_is(hub: Hub, hand: Hand) -> None:
    job = await echo(hub)
    assert (await get(hub.client, f"/jobs/{job['id']}?wait=0.2"))["status"] == "pending"


async def test_wait_ends_with_its_session(hub: Hub, hand: Hand) -> None:
    job = await echo(hub)
    waiting = asyncio.create_task(hub.client.get(f"/jobs/{job['id']}?wait=30"))
    await hub_listens(hub)
    assert (await hub.client.delete("/sessions/s1")).status_code == 204
    async with asyncio.timeout(10):
        assert (await waiting).status_code == 404


async def test_many_wait_at_once(hub: Hub, hand: Hand) -> None:
    job = await echo(hub)
    path = f"/jobs/{job['id']}?wait=30"
    async with asyncio.TaskGroup() as group:
        waits = [group.create_task(get(hub.client, path)) for _ in range(40)]
        await hub_listens(hub)
        await hand.finish()
    assert {wait.result()["status"] for wait in waits} == {"completed"}


# ------------------------------------------------------------------ list


async def test_listing_newest_first_paged_and_filtered(hub: Hub, hand: Hand) -> None:
    ids = [(await echo(hub, key=f"k{n}"))["id"] for n in range(5)]
    await echo(hub, "s2")
    done = await hand.finish()
    seen: list[str] = []
    path = "/jobs?session_id=s1&limit=2"
    page = await get(hub.client, path)
    while True:
        seen += [job["id"] for job in page["jobs"]]
        if page["more"] is None:
            break
        page = await get(hub.client, f"{path}&cursor={page['more']}")
    assert sorted(seen) == sorted(ids)
    listed = await get(hub.client, "/jobs?status=completed,failed")
    assert [job["id"] for job in listed["jobs"]] == [done]
    assert len((await get(hub.client, "/jobs"))["jobs"]) == 6
    assert (await get(hub.client, "/jobs?task=deploy"))["jobs"] == []


async def test_wrong_queries(hub: Hub) -> None:
    for query, wrong in (
        ("session_id=a%20b", "/session_id"),
        ("status=done", "/status"),
        ("limit=0", "/limit"),
        ("limit=201", "/limit"),
        ("limit=x", "/limit"),
        ("cursor=nonsense", "/cursor"),
        ("what=1", "/what"),
        ("limit=1&limit=2", "/limit"),
    ):
        assert pointers(await get(hub.client, f"/jobs?{query}", 422)) == [wrong]


async def test_wrong_waits(hub: Hub, hand: Hand) -> None:
    job = await echo(hub)
    for wait in ("x", "-1", "61", "nan", "inf"):
        problem = await get(hub.client, f"/jobs/{job['id']}?wait={wait}", 422)
        assert pointers(problem) == ["/wait"], wait


async def test_only_admins_list_without_a_session(hub: Hub, hand: Hand) -> None:
    async with hub.as_(hub.token("s1")) as ada:
        await get(ada, "/jobs", 403)
        await get(ada, "/jobs?session_id=s2", 403)
        assert (await get(ada, "/jobs?session_id=s1"))["jobs"] == []
    async with hub.as_(hub.token("s1", scope="admin")) as admin:
        await get(admin, "/jobs")


# ------------------------------------------------------------------ cancel, retry, input, logs


async def test_cancelling_is_idempotent_and_refused_after_an_end(hub: Hub, hand: Hand) -> None:
    job = await echo(hub)
    for _ in range(2):
        told = await post(hub.client, f"/jobs/{job['id']}/cancel", {})
        assert told["status"] == "cancelled"
    other = await echo(hub)
    await hand.claim()
    assert (await post(hub.client, f"/jobs/{other['id']}/cancel", {}))["status"] == "cancelling"
    await echo(hub, "s3")
    done = await hand.finish()
    problem = await post(hub.client, f"/jobs/{done}/cancel", {}, 409)
    assert "completed" in problem["detail"]
    assert (await hub.client.post(f"/jobs/{other['id']}/cancel")).status_code == 202
    await post(hub.client, f"/jobs/{other['id']}/cancel", {"why": "x"}, 422)


async def test_retrying_makes_one_new_job(hub: Hub, hand: Hand) -> None:
    job = await echo(hub, metadata={"a": 1}, title="T", priority=2)
    path = f"/jobs/{job['id']}/retry"
    await post(hub.client, path, {}, 409)
    await hand.finish()
    again = await post(hub.client, path, {})
    fresh = again["job"]
    assert (fresh["retry_of"], fresh["status"]) == (job["id"], "pending")
    for part in ("task", "params", "metadata", "title", "priority", "queue", "timeout"):
        assert fresh[part] == job[part]
    assert (await post(hub.client, path, {}, 200))["job_id"] == again["job_id"]
    assert (await get(hub.client, f"/jobs/{job['id']}"))["retried_by"] == again["job_id"]


async def test_calls_at_once_with_one_key_make_one_job(hub: Hub, hand: Hand, store: Store) -> None:
    body = {"task": "echo", "params": {"text": "hi"}, "session_id": "s1", "key": "k"}
    replies = await asyncio.gather(*(hub.client.post("/jobs", json=body) for _ in range(20)))
    assert sorted(reply.status_code for reply in replies) == [200] * 19 + [202]
    assert len({reply.json()["job_id"] for reply in replies}) == 1
    job_id = await hand.finish()
    path = f"/jobs/{job_id}/retry"
    replies = await asyncio.gather(*(hub.client.post(path) for _ in range(20)))
    assert sorted(reply.status_code for reply in replies) == [200] * 19 + [202]
    assert len((await store.jobs()).jobs) == 2


async def test_retrying_asks_again_where_a_person_must_approve(hub: Hub, hand: Hand) -> None:
    body = {"task": "deploy", "session_id": "s1"}
    job = (await post(hub.client, "/jobs", body))["job"]
    await post(hub.client, f"/jobs/{job['id']}/cancel", {})
    again = (await post(hub.client, f"/jobs/{job['id']}/retry", {}))["job"]
    assert (again["status"], again["input"]["kind"]) == ("input_required", "confirm")


async def test_retrying_checks_params_anew(hub: Hub, hand: Hand, transitions: Transitions) -> None:
    job = await echo(hub)
    await hand.finish()
    changed = {**TASKS["echo"], "params": {"type": "object", "required": ["word"]}}
    await transitions.announce({"echo": changed})
    problem = await post(hub.client, f"/jobs/{job['id']}/retry", {}, 422)
    assert pointers(problem) == ["/params/word"]


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


async def test_a_no_cancels(hub: Hub, hand: Hand) -> None:
    job = (await post(hub.client, "/jobs", {"task": "deploy", "session_id": "s1"}))["job"]
    no = {"input_id": "confirm", "value": "no"}
    async with hub.as_(hub.token("s1", scope="approve")) as ada:
        told = await post(ada, f"/jobs/{job['id']}/input", no, 200)
    assert told["status"] == "cancelled"


async def test_a_question_needs_input_and_fits_its_schema(
    hub: Hub, hand: Hand, transitions: Transitions
) -> None:
    job = await echo(hub)
    claim = await hand.claim()
    schema = json.dumps({"type": "integer", "minimum": 1})
    members = f'"id":"q","kind":"question","prompt":"How many?","options":null,"schema":{schema}'
    await transitions.ask(claim.job_id, claim.token, "q", members.encode())
    path = f"/jobs/{job['id']}/input"
    async with hub.as_(hub.token("s1", scope="read approve")) as ada:
        await post(ada, path, {"input_id": "q", "value": 3}, 403)
    async with hub.as_(hub.token("s1", scope="input")) as ada:
        problem = await post(ada, path, {"input_id": "q", "value": 0}, 422)
        assert pointers(problem) == ["/value"]
        assert (await post(ada, path, {"input_id": "q", "value": 3}, 200))["status"] == "running"
        await post(ada, path, {"input_id": "q", "value": 3}, 200)
        await post(ada, path, {"input_id": "q", "value": 4}, 409)
    assert (await transitions.memo(job["id"]))["answer:q"] == b"3"


async def test_wrong_answers(hub: Hub, hand: Hand) -> None:
    job = await echo(hub)
    cases: list[tuple[Any, list[str]]] = [
        ({}, ["/input_id", "/value"]),
        ({"input_id": "a b", "value": 1}, ["/input_id"]),
        ({"input_id": 1, "value": 1, "x": 1}, ["/input_id", "/x"]),
    ]
    for body, wrong in cases:
        assert pointers(await post(hub.client, f"/jobs/{job['id']}/input", body, 422)) == wrong


async def logged(hub: Hub, hand: Hand, count: int) -> str:
    await echo(hub)
    claim = await hand.claim()
    lines = [f'{{"stream":"stdout","text":"line {n}"}}'.encode() for n in range(1, count + 1)]
    await hub.services.transitions.log(claim.job_id, claim.token, 1, lines)
    return claim.job_id


async def test_logs_as_json(hub: Hub, hand: Hand) -> None:
    job_id = await logged(hub, hand, 5)
    page = await get(hub.client, f"/jobs/{job_id}/logs?after=2&limit=2")
    assert [line["line"] for line in page["lines"]] == [3, 4]
    assert page["lines"][0] == {"line": 3, "stream": "stdout", "text": "line 3"}
    assert (page["last"], page["more"]) == (5, True)
    page = await get(hub.client, f"/jobs/{job_id}/logs?after=4")
    assert ([line["text"] for line in page["lines"]], page["more"]) == (["line 5"], False)
    assert (await get(hub.client, f"/jobs/{job_id}/logs?after=9"))["lines"] == []
    for query, wrong in (("after=-1", "/after"), ("limit=0", "/limit"), ("x=1", "/x")):
        problem = await get(hub.client, f"/jobs/{job_id}/logs?{query}", 422)
        assert pointers(problem) == [wrong]


async def test_logs_as_text(hub: Hub, hand: Hand) -> None:
    job_id = await logged(hub, hand, 1_200)
    accept = {"Accept": "text/plain"}
    reply = await hub.client.get(f"/jobs/{job_id}/logs", headers=accept)
    assert reply.headers["content-type"] == "text/plain; charset=utf-8"
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.text.splitlines() == [f"line {n}" for n in range(1, 1_201)]
    reply = await hub.client.get(f"/jobs/{job_id}/logs?after=3&limit=2", headers=accept)
    assert reply.text == "line 4\nline 5\n"


async def test_head_is_a_get_without_a_body(hub: Hub, hand: Hand) -> None:
    job = await echo(hub)
    reply = await hub.client.head(f"/jobs/{job['id']}")
    assert (reply.status_code, reply.content) == (200, b"")
