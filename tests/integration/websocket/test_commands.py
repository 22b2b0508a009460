"""What a client may send, how it is answered, and what is wrong with what it sends."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.running_hub import Hub
from tests.wire import Hands, wire


async def test_commands_go_through_and_are_answered(hub: Hub, hands: Hands) -> None:
    job_id = await hands.queue()
    asking = await hands.queue(confirm="Sure?")
    async with wire(hub) as client:
        await client.send(type="cancel", job_id=job_id, ref=1)
        assert await client.frame() == {
            "type": "ok",
            "ref": 1,
            "job_id": job_id,
            "status": "cancelled",
        }
        await client.send(type="input", job_id=asking, input_id="confirm", value="maybe", ref=2)
        error = await client.frame()
        assert (error["type"], error["code"], error["status"]) == ("error", 4400, 422)
        assert error["errors"][0]["pointer"] == "/value"
        await client.send(type="input", job_id=asking, input_id="other", value="yes", ref=3)
        assert (await client.frame())["status"] == 409
        await client.send(type="input", job_id=asking, input_id="confirm", value="yes", ref=4)
        assert (await client.frame())["status"] == "pending"
        await client.send(type="ping")
        pong = await client.frame()
        assert set(pong) == {"type", "time"}


async def test_unknown_and_foreign_jobs_look_the_same(hub: Hub, hands: Hands) -> None:
    foreign = await hands.queue("s2")
    unknown = foreign[:-4] + "0000"
    answers = []
    async with wire(hub) as client:
        for job_id in (foreign, unknown, "nonsense"):
            await client.send(type="cancel", job_id=job_id)
            error = await client.frame()
            error["detail"] = error["detail"].replace(job_id, "ID")
            answers.append(error)
    assert answers[0] == answers[1] == answers[2]
    assert (answers[0]["code"], answers[0]["status"]) == (4404, 404)


async def test_scopes_are_checked(hub: Hub, hands: Hands) -> None:
    job_id = await hands.queue()
    asking = await hands.queue(confirm="Sure?")
    async with wire(hub, token=hub.token(scope="read input")) as client:
        await client.send(type="cancel", job_id=job_id)
        error = await client.frame()
        assert (error["code"], error["status"]) == (4403, 403)
        assert "cancel" in error["detail"]
        await client.send(type="input", job_id=asking, input_id="confirm", value="yes")
        error = await client.frame()
        assert error["status"] == 403
        assert "approve" in error["detail"]
    async with wire(hub, "/ws/s1", token=hub.token(scope="cancel")) as client:
        assert await client.closed() == 4403


@pytest.mark.parametrize("fast", [True], indirect=True)
@pytest.mark.parametrize(
    ("frame", "pointer"),
    [
        ({}, "/type"),
        ({"type": None}, "/type"),
        ({"type": "shout"}, "/type"),
        ({"type": ["subscribe"]}, "/type"),
        ({"type": "subscribe"}, "/session_id"),
        ({"type": "subscribe", "session_id": 7}, "/session_id"),
        ({"type": "subscribe", "session_id": "no spaces"}, "/session_id"),
        ({"type": "subscribe", "session_id": "x" * 129}, "/session_id"),
        ({"type": "subscribe", "session_id": "s1", "afterwards": 1}, "/afterwards"),
        ({"type": "cancel"}, "/job_id"),
        ({"type": "input", "job_id": "x", "input_id": "q"}, "/value"),
        ({"type": "auth", "token": 5}, "/token"),
        ({"type": "ping", "ref": {"a": 1}}, "/ref"),
    ],
)
async def test_a_wrong_frame_is_told_what_is_wrong(
    hub: Hub, frame: dict[str, Any], pointer: str
) -> None:
    async with wire(hub) as client:
        await client.socket.send(json.dumps(frame))
        error = await client.frame()
        assert (error["type"], error["code"], error["status"]) == ("error", 4400, 422)
        assert [one["pointer"] for one in error["errors"]] == [pointer]
        await client.send(type="ping", ref="still here")
        assert (await client.frame())["ref"] == "still here"


@pytest.mark.parametrize(
    "message", [b"{}", "", "nonsense", "[]", "1", "null", '"x"', '{"type":', "[" * 60_000]
)
async def test_what_is_no_object_closes_with_4400(hub: Hub, message: str | bytes) -> None:
    async with wire(hub) as client:
        await client.socket.send(message)
        assert await client.closed() == 4400
        assert client.frames == []


async def test_a_message_that_is_too_large_ends_the_socket(hub: Hub) -> None:
    async with wire(hub) as client:
        await client.send(type="ping", ref="x" * 70_000)
        assert await client.closed() == 1009
