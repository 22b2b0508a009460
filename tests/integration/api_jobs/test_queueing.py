"""`POST /jobs` on a real hub and a real Valkey."""

from __future__ import annotations

import asyncio
from typing import Any

from hub.store import Store
from hub.transitions import Transitions
from tests.announced import TASKS, Hand
from tests.integration.api_jobs.calls import echo, get, pointers, post
from tests.running_hub import Hub


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
