"""Hello, resume and snapshot: what a subscription brings, against a real hub."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hub import keys
from tests.running_hub import Hub
from tests.wire import Hands, wire


async def test_events_of_a_jobs_life_arrive_in_order(hub: Hub, hands: Hands) -> None:
    async with wire(hub) as client:
        await client.send(type="subscribe", session_id="s1", ref="a")
        hello = await client.frame()
        assert hello | {"time": ""} == {
            "type": "hello",
            "ref": "a",
            "session_id": "s1",
            "cursor": "0-0",
            "resumed": False,
            "jobs": [],
            "more": None,
            "messages": [],
            "time": "",
        }
        job_id = await hands.start()
        await hands.progress(job_id, 50)
        await hands.log(job_id, 1, "one", "two")
        await hands.finish(job_id, {"passed": 3})
        await client.until("job.completed")
    types = [frame["type"] for frame in client.frames[1:]]
    assert types == ["job.pending", "job.running", "job.progress", "job.log", "job.completed"]
    pending, running_, progress, log, completed = client.frames[1:]
    assert [pending["rev"], running_["rev"], progress["rev"]] == [1, 2, 3]
    assert pending["data"]["task"] == "work"
    assert "id" not in progress
    assert log["line"] == 1
    assert log["data"]["lines"][1] == {"stream": "stdout", "text": "two"}
    assert completed["data"]["result"] == {"passed": 3}
    assert completed["data"]["log_lines"] == 2


async def test_the_address_of_a_session_subscribes_by_itself(hub: Hub, hands: Hands) -> None:
    async with wire(hub, "/ws/s1") as client:
        assert (await client.frame())["session_id"] == "s1"
        await client.send(type="subscribe", session_id="other", ref=1)
        error = await client.frame()
        assert (error["code"], error["status"], error["ref"]) == (4403, 403, 1)
        assert error["session_id"] == "other"
        await hands.queue()
        await client.until("job.pending")


async def test_a_resume_replays_what_was_missed_and_nothing_else(hub: Hub, hands: Hands) -> None:
    async with wire(hub, "/ws/s1") as client:
        await client.frame()
        first = await hands.start()
        at = (await client.until("job.running"))["id"]
    await hands.finish(first)
    second = await hands.queue()
    async with wire(hub, f"/ws/s1?after={at}") as client:
        hello = await client.frame()
        assert hello["resumed"]
        assert hello["cursor"] == at
        assert [job["id"] for job in hello["jobs"]] == [second]
        events = [await client.frame(), await client.frame()]
        assert [event["type"] for event in events] == ["job.completed", "job.pending"]
        # At the top there is nothing to replay.
        await client.send(type="subscribe", session_id="s1", after=events[-1]["id"], ref="again")
        hello = await client.frame()
        assert (hello["ref"], hello["resumed"], hello["cursor"]) == (
            "again",
            True,
            events[-1]["id"],
        )
        await client.send(type="ping", ref="p")
        assert (await client.frame())["type"] == "pong"


async def test_the_beginning_of_a_session_is_a_cursor_too(hub: Hub, hands: Hands) -> None:
    await hands.queue()
    async with wire(hub, "/ws/s1?after=0-0") as client:
        assert (await client.frame())["resumed"]
        assert (await client.frame())["type"] == "job.pending"


@pytest.mark.parametrize("fast", [True], indirect=True)
@pytest.mark.parametrize("after", ["", "nonsense", "9-9", "1-1", "0-1", "-", "9" * 400, "1-٣"])
async def test_a_cursor_that_is_none_becomes_a_snapshot(hub: Hub, hands: Hands, after: str) -> None:
    job_id = await hands.queue()
    async with wire(hub, f"/ws/s1?after={after}") as client:
        hello = await client.frame()
        assert not hello["resumed"]
        assert [job["id"] for job in hello["jobs"]] == [job_id]
        assert hello["cursor"].startswith("1-")


async def test_a_trimmed_or_rewritten_history_becomes_a_snapshot(
    hub: Hub, hands: Hands, redis: Any
) -> None:
    for _ in range(3):
        await hands.queue()
    entries = await redis.xrange(keys.events("s1"))
    first = entries[0][0].decode()
    await redis.xtrim(keys.events("s1"), maxlen=1, approximate=False)
    async with wire(hub, f"/ws/s1?after={first}") as client:
        hello = await client.frame()
        assert (hello["resumed"], len(hello["jobs"])) == (False, 3)
    async with wire(hub, "/ws/s1?after=3-1234") as client:
        assert not (await client.frame())["resumed"]


async def test_a_long_replay_becomes_a_snapshot(hub: Hub, hands: Hands) -> None:
    params = json.dumps({"pad": "x" * 15_000}).encode()
    for _ in range(40):
        await hands.queue(params=params)
    async with wire(hub, "/ws/s1?after=0-0") as client:
        hello = await client.frame()
        assert (hello["resumed"], len(hello["jobs"])) == (False, 40)
        assert all(job["params_truncated"] for job in hello["jobs"])


async def test_a_replay_beyond_the_ring_is_whole(hub: Hub, hands: Hands) -> None:
    for _ in range(200):
        await hands.queue()
    async with wire(hub, "/ws/s1?after=0-0") as client:
        assert (await client.frame())["resumed"]
        for _ in range(200):
            await client.until("job.pending")
    numbers = [int(cursor.split("-")[0]) for cursor in client.lifecycle]
    assert numbers == list(range(1, 201))


async def test_one_socket_follows_many_sessions(hub: Hub, hands: Hands) -> None:
    token = hub.token("a", "b", "team:*")
    async with wire(hub, token=token) as client:
        for session_id in ("a", "b", "team:1"):
            await client.send(type="subscribe", session_id=session_id)
            assert (await client.frame())["session_id"] == session_id
        await hands.queue("team:1")
        assert (await client.frame())["session_id"] == "team:1"
        await client.send(type="unsubscribe", session_id="a", ref="u")
        assert await client.frame() == {"type": "ok", "ref": "u", "session_id": "a"}
        await hands.queue("a")
        await hands.queue("b")
        assert (await client.until("job.pending"))["session_id"] == "b"
