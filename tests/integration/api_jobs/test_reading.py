"""Waiting for a job, listing jobs and reading logs over HTTP."""

from __future__ import annotations

import asyncio

from hub.transitions import Transitions
from tests.announced import Hand
from tests.conftest import wait_until
from tests.integration.api_jobs.calls import echo, get, pointers
from tests.running_hub import Hub


async def test_wait_answers_when_the_job_ends(hub: Hub, hand: Hand) -> None:
    job = await echo(hub)
    waiting = asyncio.create_task(get(hub.client, f"/jobs/{job['id']}?wait=30"))
    await hub_listens(hub)
    await hand.finish(b'{"said":"hi"}')
    async with asyncio.timeout(60):
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
    async with asyncio.timeout(60):
        assert (await waiting)["input"]["options"] == ["a", "b"]


async def test_wait_ends_with_its_time_and_answers_the_job_as_it_is(hub: Hub, hand: Hand) -> None:
    job = await echo(hub)
    assert (await get(hub.client, f"/jobs/{job['id']}?wait=0.2"))["status"] == "pending"


async def test_wait_ends_with_its_session(hub: Hub, hand: Hand) -> None:
    job = await echo(hub)
    waiting = asyncio.create_task(hub.client.get(f"/jobs/{job['id']}?wait=30"))
    await hub_listens(hub)
    assert (await hub.client.delete("/sessions/s1")).status_code == 204
    async with asyncio.timeout(60):
        assert (await waiting).status_code == 404


async def test_many_wait_at_once(hub: Hub, hand: Hand) -> None:
    job = await echo(hub)
    path = f"/jobs/{job['id']}?wait=30"
    async with asyncio.TaskGroup() as group:
        waits = [group.create_task(get(hub.client, path)) for _ in range(40)]
        await hub_listens(hub)
        await hand.finish()
    assert {wait.result()["status"] for wait in waits} == {"completed"}


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
