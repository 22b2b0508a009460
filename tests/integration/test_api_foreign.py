"""Jobs that somebody else's queue runs."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from hub import keys
from hub.queueing import STALL_DEADLINE
from hub.transitions import Transitions
from tests.announced import TASKS, Hand
from tests.running_hub import Hub


class Foreign:
    """A job of somebody else's queue."""

    def __init__(self, hub: Hub, job_id: str, token: str) -> None:
        self.hub = hub
        self.job_id = job_id
        self.token = token

    async def tell(self, *events: dict[str, Any], status: int = 200, **more: Any) -> dict[str, Any]:
        body = {"token": self.token, "events": list(events), **more}
        reply = await self.hub.client.post(f"/jobs/{self.job_id}/events", json=body)
        assert reply.status_code == status, reply.text
        found: dict[str, Any] = reply.json()
        return found

    async def job(self) -> dict[str, Any]:
        found: dict[str, Any] = (await self.hub.client.get(f"/jobs/{self.job_id}")).json()
        return found


@pytest.fixture
async def foreign(hub: Hub) -> Foreign:
    body = {"task": "render", "params": {"scene": 1}, "session_id": "s1", "queue": None}
    reply = await hub.client.post("/jobs", json=body)
    assert reply.status_code == 202
    made = reply.json()
    assert (made["status"], made["job"]["queue"]) == ("running", None)
    return Foreign(hub, made["job_id"], made["token"])


async def test_a_whole_life(foreign: Foreign) -> None:
    told = await foreign.tell(
        {"type": "progress", "percent": 10, "message": "Loading"},
        {"type": "log", "lines": [{"text": "one"}, {"text": "two", "stream": "stderr"}]},
    )
    assert told == {"status": "running"}
    assert await foreign.tell({"type": "log", "lines": [{"text": "three\nfour"}]}) == told
    job = await foreign.job()
    assert job["progress"] == {"percent": 10, "message": "Loading"}
    assert job["log_lines"] == 4
    told = await foreign.tell({"type": "completed", "result": {"frames": 240}})
    assert told == {"status": "completed"}
    job = await foreign.job()
    assert (job["status"], job["result"]) == ("completed", {"frames": 240})
    page = (await foreign.hub.client.get(f"/jobs/{foreign.job_id}/logs")).json()
    assert [(line["line"], line["stream"], line["text"]) for line in page["lines"]] == [
        (1, "stdout", "one"),
        (2, "stderr", "two"),
        (3, "stdout", "three"),
        (4, "stdout", "four"),
    ]


async def test_the_token_is_shown_once(foreign: Foreign) -> None:
    assert foreign.token not in (await foreign.hub.client.get(f"/jobs/{foreign.job_id}")).text
    assert foreign.token not in (await foreign.hub.client.get("/jobs")).text


async def test_a_failure(foreign: Foreign) -> None:
    error = {"message": "out of memory", "type": "MemoryError", "traceback": "Traceback: x"}
    assert await foreign.tell({"type": "failed", "error": error}) == {"status": "failed"}
    assert (await foreign.job())["error"] == {**error, "code": "error"}


async def test_a_cancel_is_heard_and_confirmed(foreign: Foreign) -> None:
    reply = await foreign.hub.client.post(f"/jobs/{foreign.job_id}/cancel")
    assert reply.json()["status"] == "cancelling"
    assert await foreign.tell() == {"status": "cancelling"}
    assert await foreign.tell({"type": "cancelled"}) == {"status": "cancelled"}


async def test_what_is_given_up_unasked_is_cancelled(foreign: Foreign) -> None:
    assert await foreign.tell({"type": "cancelled"}) == {"status": "cancelled"}


async def test_an_ending_whose_answer_was_lost_may_be_repeated(foreign: Foreign) -> None:
    done = {"type": "completed", "result": 1}
    await foreign.tell(done)
    assert await foreign.tell(done) == {"status": "completed"}
    await foreign.tell({"type": "failed", "error": {"message": "x"}}, status=409)
    await foreign.tell({"type": "progress", "percent": 1}, status=409)
    await foreign.tell(status=409)
    assert (await foreign.job())["result"] == 1


async def test_another_token_changes_nothing(foreign: Foreign) -> None:
    await foreign.tell({"type": "completed"}, status=409, token="1:2")
    assert (await foreign.job())["status"] == "running"


async def test_each_call_renews_the_stall_deadline(foreign: Foreign, redis: Redis) -> None:
    score = await redis.zscore(keys.RUNNING, foreign.job_id)
    await redis.zadd(keys.RUNNING, {foreign.job_id: 1})
    await foreign.tell()
    renewed = await redis.zscore(keys.RUNNING, foreign.job_id)
    assert score is not None
    assert renewed is not None
    assert score <= float(renewed) < score + STALL_DEADLINE * 1000


async def test_a_job_of_ours_is_not_theirs(hub: Hub, transitions: Transitions) -> None:
    await transitions.announce(TASKS)
    body = {"task": "echo", "params": {"text": "hi"}, "session_id": "s1"}
    await hub.client.post("/jobs", json=body)
    claim = await Hand(transitions).claim()
    ours = Foreign(hub, claim.job_id, claim.token)
    await ours.tell({"type": "completed"}, status=409)
    assert (await ours.job())["status"] == "running"


async def test_calls_at_once_number_their_lines_apart(foreign: Foreign) -> None:
    async with asyncio.TaskGroup() as group:
        for n in range(20):
            lines = [{"text": f"{n}.{i}"} for i in range(5)]
            group.create_task(foreign.tell({"type": "log", "lines": lines}))
    page = (await foreign.hub.client.get(f"/jobs/{foreign.job_id}/logs")).json()
    assert [line["line"] for line in page["lines"]] == list(range(1, 101))
    assert {line["text"] for line in page["lines"]} == {
        f"{n}.{i}" for n in range(20) for i in range(5)
    }


async def test_long_lines_are_cut_at_a_character(foreign: Foreign) -> None:
    await foreign.tell({"type": "log", "lines": [{"text": "é" * 8_000}, {"text": ""}]})
    page = (await foreign.hub.client.get(f"/jobs/{foreign.job_id}/logs")).json()
    text = page["lines"][0]["text"]
    assert len(text.encode()) <= 8 * 1024
    assert set(text) == {"é", "…"}
    assert page["lines"][1]["text"] == ""


async def test_events_stay_single_lines(foreign: Foreign, redis: Redis) -> None:
    body = b'{"token":"%s","events":[{"type":"completed","result":{\n "a":\n [1, 2]}}]}' % (
        foreign.token.encode()
    )
    headers = {"Content-Type": "application/json"}
    path = f"/jobs/{foreign.job_id}/events"
    assert (await foreign.hub.client.post(path, content=body, headers=headers)).status_code == 200
    entries: Any = await redis.xrevrange(keys.events("s1"), count=1)
    event = entries[0][1][b"e"]
    assert b"\n" not in event
    assert msgspec.json.decode(event)["data"]["result"] == {"a": [1, 2]}


async def test_wrong_events(foreign: Foreign) -> None:
    cases: list[tuple[dict[str, Any], list[str]]] = [
        ({"token": 1}, ["/token"]),
        ({"events": {}}, ["/events"]),
        ({"events": [{"type": "nonsense"}]}, ["/events/0/type"]),
        ({"events": [{"type": "log"}]}, ["/events/0"]),
        ({"events": [{"type": "log", "lines": []}]}, ["/events/0/lines"]),
        ({"events": [{"type": "log", "lines": [{"text": 1}]}]}, ["/events/0/lines/0/text"]),
        ({"events": [{"type": "progress", "percent": "x"}]}, ["/events/0/percent"]),
        ({"events": [{"type": "failed", "error": {}}]}, ["/events/0/error"]),
        ({"events": [{"type": "completed"}, {"type": "progress"}]}, ["/events/0"]),
        ({"events": [{"type": "progress"}] * 101}, ["/events"]),
        ({"more": 1}, ["/more"]),
    ]
    for change, wrong in cases:
        problem = await foreign.tell(status=422, **change)
        assert [error["pointer"] for error in problem["errors"]] == wrong, change
    assert (await foreign.job())["status"] == "running"
