"""Cancelling, retrying and answering over HTTP."""

from __future__ import annotations

import json
from typing import Any

from hub.transitions import Transitions
from tests.announced import TASKS, Hand
from tests.integration.api_jobs.calls import echo, get, pointers, post
from tests.running_hub import Hub


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
