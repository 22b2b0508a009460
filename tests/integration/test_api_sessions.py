"""Sessions and messages over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from hub.store import Store
from hub.transitions import Transitions
from tests.announced import TASKS, Hand
from tests.running_hub import Hub


@pytest.fixture
async def hand(hub: Hub, transitions: Transitions) -> Hand:
    await transitions.announce(TASKS)
    return Hand(transitions)


async def echo(hub: Hub, session_id: str) -> str:
    body = {"task": "echo", "params": {"text": "hi"}, "session_id": session_id}
    reply = await hub.client.post("/jobs", json=body)
    assert reply.status_code == 202
    return str(reply.json()["job_id"])


async def test_an_empty_session_is_a_picture_too(hub: Hub) -> None:
    reply = await hub.client.get("/sessions/nobody:yet")
    assert reply.json() == {"cursor": "0-0", "jobs": [], "more": None, "messages": []}


async def test_the_picture_of_a_session(hub: Hub, hand: Hand) -> None:
    ids = {await echo(hub, "s1"), await echo(hub, "s1")}
    await echo(hub, "s2")
    done = await hand.finish()
    await hub.client.post("/sessions/s1/messages", json={"text": "hello", "message_id": "m1"})
    async with hub.as_(hub.token("s1", scope="read")) as ada:
        picture = (await ada.get("/sessions/s1")).json()
    assert {job["id"] for job in picture["jobs"]} == ids
    assert picture["jobs"][-1]["id"] == done
    assert [m["text"] for m in picture["messages"]] == ["hello"]
    assert picture["cursor"] == picture["messages"][0]["cursor"]


async def test_what_a_person_says_is_once_and_starts_a_turn(hub: Hub, hand: Hand) -> None:
    async with hub.as_(hub.token("s1", scope="input")) as ada:
        for _ in range(2):
            reply = await ada.post(
                "/sessions/s1/messages", json={"text": "run the tests", "message_id": "m1"}
            )
            assert (reply.status_code, reply.json()) == (202, {"message_id": "m1"})
        reply = await ada.post("/sessions/s1/messages", json={"text": "and again"})
        assert reply.json()["message_id"]
    page = (await hub.client.get("/sessions/s1/messages")).json()
    assert [(m["role"], m["text"]) for m in page["messages"]] == [
        ("user", "run the tests"),
        ("user", "and again"),
    ]
    assert [(await hand.claim()).task for _ in range(2)] == ["agent.turn", "agent.turn"]


async def test_keys_speak_for_the_agent(hub: Hub, hand: Hand, store: Store) -> None:
    job_id = await echo(hub, "s1")
    said = {"text": "Done.", "role": "agent", "job_id": job_id, "message_id": "re.m1"}
    assert (await hub.client.post("/sessions/s1/messages", json=said)).status_code == 202
    [message] = await store.messages("s1")
    assert (message.role, message.job_id) == ("agent", job_id)
    assert (await hand.claim()).job_id == job_id
    async with hub.as_(hub.token("s1")) as ada:
        for body in ({"text": "x", "role": "agent"}, {"text": "x", "job_id": job_id}):
            assert (await ada.post("/sessions/s1/messages", json=body)).status_code == 403


async def test_messages_are_paged_back(hub: Hub, store: Store) -> None:
    for n in range(7):
        await store.say("s1", "user", f"m{n}", f"text {n}")
    async with hub.as_(hub.token("s1", scope="read")) as ada:
        page = (await ada.get("/sessions/s1/messages?limit=3")).json()
        assert [m["message_id"] for m in page["messages"]] == ["m4", "m5", "m6"]
        page = (await ada.get(f"/sessions/s1/messages?limit=3&before={page['more']}")).json()
        assert [m["message_id"] for m in page["messages"]] == ["m1", "m2", "m3"]
        page = (await ada.get(f"/sessions/s1/messages?limit=3&before={page['more']}")).json()
        assert [m["message_id"] for m in page["messages"]] == ["m0"]
        assert page["more"] is None


async def test_wrong_messages_and_queries(hub: Hub, hand: Hand) -> None:
    elsewhere = await echo(hub, "s2")
    cases: list[tuple[Any, list[str]]] = [
        ({}, ["/text"]),
        ({"text": ""}, ["/text"]),
        ({"text": " \n"}, ["/text"]),
        ({"text": 1}, ["/text"]),
        ({"text": "x" * 16_001}, ["/text"]),
        ({"text": "x", "message_id": "a b"}, ["/message_id"]),
        ({"text": "x", "message_id": "re.m1"}, ["/message_id"]),
        ({"text": "x", "message_id": "word.m1"}, ["/message_id"]),
        ({"text": "x", "role": "system"}, ["/role"]),
        ({"text": "x", "job_id": "nope"}, ["/job_id"]),
        ({"text": "x", "job_id": elsewhere}, ["/job_id"]),
        ({"text": "x", "who": "me"}, ["/who"]),
    ]
    for body, wrong in cases:
        reply = await hub.client.post("/sessions/s1/messages", json=body)
        assert reply.status_code == 422, body
        assert [error["pointer"] for error in reply.json()["errors"]] == wrong
    for query in ("before=x", "before=1-2%0a", "limit=0", "limit=201", "x=1"):
        reply = await hub.client.get(f"/sessions/s1/messages?{query}")
        assert reply.status_code == 422, query
    for path in ("/sessions/a%20b", "/sessions/a%20b/messages", f"/sessions/{'x' * 129}"):
        problem = (await hub.client.get(path)).json()
        assert (problem["status"], problem["errors"][0]["pointer"]) == (422, "/session_id")


async def test_another_session_is_refused_whether_it_exists_or_not(hub: Hub, hand: Hand) -> None:
    await echo(hub, "s2")
    async with hub.as_(hub.token("s1")) as ada:
        for session_id in ("s2", "s3"):
            calls = [
                await ada.get(f"/sessions/{session_id}"),
                await ada.get(f"/sessions/{session_id}/messages"),
                await ada.post(f"/sessions/{session_id}/messages", json={"text": "x"}),
                await ada.delete(f"/sessions/{session_id}"),
                await ada.post("/jobs", json={"task": "echo", "session_id": session_id}),
            ]
            assert [reply.status_code for reply in calls] == [403] * 5
            assert len({reply.json()["detail"] for reply in calls}) == 1


async def test_scopes(hub: Hub) -> None:
    async with hub.as_(hub.token("s1", scope="cancel")) as ada:
        assert (await ada.get("/sessions/s1")).status_code == 403
        assert (await ada.get("/sessions/s1/messages")).status_code == 403
        assert (await ada.post("/sessions/s1/messages", json={"text": "x"})).status_code == 403
        assert (await ada.delete("/sessions/s1")).status_code == 403
        assert (await ada.get("/sessions")).status_code == 403


async def test_sessions_are_listed_last_active_first(hub: Hub, store: Store) -> None:
    names = [f"s:{n}" for n in range(5)]
    for name in names:
        await store.say(name, "user", "m1", "x")
    seen: list[str] = []
    path = "/sessions?limit=2"
    page = (await hub.client.get(path)).json()
    while page["more"] is not None:
        seen += [line["session_id"] for line in page["sessions"]]
        page = (await hub.client.get(f"{path}&cursor={page['more']}")).json()
    seen += [line["session_id"] for line in page["sessions"]]
    assert sorted(seen) == names
    times = [line["active_at"] for line in (await hub.client.get("/sessions")).json()["sessions"]]
    assert times == sorted(times, reverse=True)
    for query in ("limit=0", "cursor=x", "cursor=1", "x=1"):
        assert (await hub.client.get(f"/sessions?{query}")).status_code == 422, query


async def test_a_deleted_session_is_gone(hub: Hub, hand: Hand, store: Store) -> None:
    job_id = await echo(hub, "s1")
    await hub.client.post("/sessions/s1/messages", json={"text": "hello"})
    assert (await hub.client.delete("/sessions/s1")).status_code == 204
    assert (await hub.client.get(f"/jobs/{job_id}")).status_code == 404
    picture = (await hub.client.get("/sessions/s1")).json()
    assert (picture["cursor"], picture["jobs"], picture["messages"]) == ("0-0", [], [])
    assert (await hub.client.delete("/sessions/s1")).status_code == 404
    assert (await hub.client.delete("/sessions/a%20b")).status_code == 422
