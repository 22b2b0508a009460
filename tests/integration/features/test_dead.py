"""Jobs that failed for good: listed, retried, purged, by operators."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis
from typer.testing import CliRunner

from hub import keys
from hub.cli import app
from hub.invariant import check
from hub.jobs import NewJob
from hub.scripts import Scripts
from hub.settings import Settings
from hub.transitions import Transitions
from tests.announced import TASKS
from tests.integration.store.conftest import Driver
from tests.running_hub import Hub


@pytest.fixture
async def driver(redis: Redis, scripts: Scripts, transitions: Transitions) -> Driver:
    await transitions.announce(TASKS)
    return Driver(redis, scripts)


async def die(driver: Driver, count: int, task: str = "echo") -> list[str]:
    """Jobs that fail, in this order."""
    ids = []
    for _ in range(count):
        new = NewJob(session_id="s1", task=task, params=b'{"text":"hi"}', queue="default")
        ids.append((await driver.store.enqueue(new)).job.id)
        [claim] = await driver.claim(tasks=task)
        error = b'{"code":"permanent","message":"it broke\\nbadly"}'
        await driver.do.finish(claim.job_id, claim.token, "failed", error)
        # So that no two ended in the same millisecond.
        await driver.redis.zincrby(keys.DEAD, len(ids), claim.job_id)
    return ids


async def call(hub: Hub, path: str, body: Any, status: int = 200) -> Any:
    reply = await hub.client.post(f"/dead/{path}", json=body)
    assert reply.status_code == status, reply.text
    return reply.json()


async def listed(hub: Hub, **query: Any) -> list[str]:
    reply = await hub.client.get("/dead", params=query)
    assert reply.status_code == 200, reply.text
    return [job["id"] for job in reply.json()["jobs"]]


async def test_dead_jobs_are_listed_by_pages(hub: Hub, driver: Driver) -> None:
    ids = await die(driver, 3)
    other = await die(driver, 1, "other")

    assert set(await listed(hub)) == {*ids, *other}
    assert await listed(hub, task="echo") == ids[::-1]
    page = (await hub.client.get("/dead", params={"task": "echo", "limit": 2})).json()
    assert [job["id"] for job in page["jobs"]] == ids[:0:-1]
    assert ids[0] in await listed(hub, cursor=page["more"])


async def test_what_is_retried_is_dead_no_more(hub: Hub, driver: Driver, redis: Redis) -> None:
    first, second, third = await die(driver, 3)
    [unknown] = await die(driver, 1, "other")
    done = await call(hub, "retry", {"job_ids": [second, unknown, second]})

    [line] = done["retried"]
    assert line["job_id"] == second
    assert (await driver.job(line["new_job_id"])).retry_of == second
    assert [each["job_id"] for each in done["failed"]] == [unknown]
    assert "announced" in done["failed"][0]["detail"]
    assert set(await listed(hub)) == {first, third, unknown}

    done = await call(hub, "retry", {"task": "echo"})
    assert {each["job_id"] for each in done["retried"]} == {first, third}
    assert (done["more"], await listed(hub)) == (False, [unknown])
    assert (await call(hub, "retry", {"all": True}))["retried"] == []
    assert await check(redis) == []


async def test_what_is_purged_is_gone(hub: Hub, driver: Driver, redis: Redis) -> None:
    first, second = await die(driver, 2)
    alive = await driver.queue(task="echo")
    assert await call(hub, "purge", {"job_ids": [first, alive]}) == {"purged": 1, "more": False}
    assert await driver.store.job(first) is None
    assert await driver.state(alive) == "pending"
    assert await listed(hub) == [second]
    assert (await call(hub, "purge", {"all": True}))["purged"] == 1
    assert [job.id for job in (await driver.store.jobs(session_id="s1")).jobs] == [alive]
    assert await check(redis) == []


async def test_many_take_several_calls(hub: Hub, driver: Driver) -> None:
    await die(driver, 101)
    assert await call(hub, "purge", {"all": True}) == {"purged": 100, "more": True}
    assert await call(hub, "purge", {"all": True}) == {"purged": 1, "more": False}


async def test_which_are_meant_has_to_be_said(hub: Hub) -> None:
    bodies: list[dict[str, Any]] = [
        {},
        {"task": "echo", "all": True},
        {"job_ids": []},
        {"job_ids": ["x"]},
    ]
    for body in bodies:
        for path in ("retry", "purge"):
            await call(hub, path, body, 422)
    headers = {"Authorization": f"Bearer {hub.token('s1')}"}
    for path in ("retry", "purge"):
        reply = await hub.client.post(f"/dead/{path}", json={"all": True}, headers=headers)
        assert reply.status_code == 403
    assert (await hub.client.get("/dead", headers=headers)).status_code == 403


async def test_the_commands(
    driver: Driver, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBCAST_REDIS_URL", settings.redis_url)
    _, second, third = await die(driver, 3)

    async def run(*args: str) -> tuple[int, str]:
        result = await asyncio.to_thread(CliRunner().invoke, app, list(args))
        return result.exit_code, result.output

    code, output = await run("dead", "list", "--limit", "2")
    assert code == 0
    assert [line.split()[0] for line in output.splitlines()] == [third, second]
    assert "permanent: it broke" in output
    assert f"{second} is retried by" in (await run("dead", "retry", second))[1]
    assert (await run("dead", "retry", "--task", "echo"))[1].endswith("2 retried, 0 not.\n")
    [unknown] = await die(driver, 1, "other")
    code, output = await run("dead", "retry", "--all")
    assert (code, output.splitlines()[-1]) == (1, "0 retried, 1 not.")
    assert unknown in output
    assert (await run("dead", "purge", "--all"))[1].endswith("purged.\n")
    assert (await run("dead", "list"))[1] == "No job is dead.\n"
    assert (await run("dead", "purge"))[0] == 2

    assert (await run("pause", "default"))[1] == "The queue default is paused.\n"
    assert (await run("pause", "default"))[1] == "The queue default is already paused.\n"
    assert (await run("resume", "default"))[1] == "The queue default is handing out jobs.\n"


async def test_a_server_that_is_not_there_is_said() -> None:
    args = ["dead", "list", "--redis-url", "redis://127.0.0.1:1/0"]
    result = await asyncio.to_thread(CliRunner().invoke, app, args)
    assert result.exit_code == 2
