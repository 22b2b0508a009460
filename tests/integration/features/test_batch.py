"""Many jobs in one call."""

from __future__ import annotations

from typing import Any

import pytest
from redis.asyncio import Redis

from hub.api.batch import MAX_JOBS
from hub.errors import Busy, JobcastError
from hub.invariant import check
from hub.jobs import NewJob
from hub.queueing import Enqueued
from hub.store import Store
from hub.transitions import Transitions
from tests.announced import TASKS
from tests.running_hub import Hub


def job(session_id: str = "s1", text: object = "hi", **more: Any) -> dict[str, Any]:
    return {"task": "echo", "params": {"text": text}, "session_id": session_id, **more}


@pytest.fixture
async def batched(hub: Hub, transitions: Transitions) -> Hub:
    await transitions.announce(TASKS)
    return hub


async def post(hub: Hub, body: Any, status: int = 207, **headers: str) -> dict[str, Any]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    reply = await hub.client.post("/jobs", json=body, headers=named)
    assert reply.status_code == status, reply.text
    found: dict[str, Any] = reply.json()
    return found


async def test_what_is_wrong_with_one_does_not_concern_the_others(
    batched: Hub, redis: Redis
) -> None:
    wanted = [
        job(),
        job(text=1, priority=10),
        job("s2", key="k"),
        job("s2", key="k"),
        {"task": "unheard"},
        job(task="unheard"),
        "job",
        {**job(), "queue": None},
    ]
    lines = (await post(batched, wanted))["jobs"]

    assert [line["status"] for line in lines] == [202, 422, 202, 200, 422, 422, 422, 202]
    assert lines[2]["job_id"] == lines[3]["job_id"]
    assert [e["pointer"] for e in lines[1]["problem"]["errors"]] == ["/priority"]
    assert {e["pointer"] for e in lines[4]["problem"]["errors"]} == {"/session_id"}
    assert "announced are" in lines[5]["problem"]["errors"][0]["detail"]
    assert lines[7]["job"]["status"] == "running"
    assert lines[7]["token"]
    assert lines[0]["job"]["params"] == {"text": "hi"}
    assert await check(redis) == []


async def test_the_same_list_again_is_the_same_jobs(batched: Hub) -> None:
    first = (await post(batched, [job(), job()], Idempotency_Key="k"))["jobs"]
    again = (await post(batched, [job(), job(text="other")], Idempotency_Key="k"))["jobs"]

    assert first[0]["job_id"] != first[1]["job_id"]
    assert again[0] == {**first[0], "status": 200}
    assert again[1]["status"] == 409


async def test_each_job_needs_its_session(batched: Hub) -> None:
    token = batched.token("s1", scope="enqueue")
    lines = await post(batched, [job("s1"), job("s2")], Authorization=f"Bearer {token}")

    assert [line["status"] for line in lines["jobs"]] == [202, 403]


async def test_the_bound_of_a_list(batched: Hub, store: Store) -> None:
    for count in (0, MAX_JOBS + 1):
        problem = await post(batched, [job()] * count, 422)
        assert problem["errors"][0]["pointer"] == ""
    assert (await store.jobs()).jobs == []
    assert len((await post(batched, [job()] * MAX_JOBS))["jobs"]) == MAX_JOBS


async def test_a_list_counts_as_many(batched: Hub) -> None:
    limit = batched.services.enqueue_limit
    limit._rate, limit._burst = 0.001, 5.0
    await post(batched, [job()] * 6, 429)
    await post(batched, [job()] * 5)
    await post(batched, job(), 429)


async def test_the_store_queues_many_after_the_server_forgot_its_scripts(
    store: Store, redis: Redis
) -> None:
    client: Any = redis
    await client.script_flush()
    news = [NewJob(session_id="s1", task="work", durable=n == 1) for n in range(3)]
    done = await store.enqueue_many(news)

    assert [isinstance(each, Enqueued) and each.created for each in done] == [True] * 3
    assert len((await store.jobs(session_id="s1")).jobs) == 3


async def test_a_full_redis_is_said_of_each(store: Store, redis: Redis) -> None:
    client: Any = redis
    await store.enqueue_many([NewJob(session_id="s1", task="work")])
    await client.config_set("maxmemory", "1mb")
    try:
        done = await store.enqueue_many([NewJob(session_id="s1", task="work")] * 2)
    finally:
        await client.config_set("maxmemory", "0")
    assert all(isinstance(each, JobcastError) for each in done)
    assert isinstance(done[0], Busy)


async def test_nothing_is_queued_of_nothing(store: Store) -> None:
    assert await store.enqueue_many([]) == []
