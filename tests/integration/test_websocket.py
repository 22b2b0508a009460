"""WebSockets against a real hub on a real Valkey."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import jwt
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from hub import keys
from hub.settings import Settings
from tests.conftest import API_KEY, SECRET, wait_until
from tests.running_hub import Hub, running
from tests.wire import Hands, Wire, stuck, wire


@pytest.fixture(params=[True, False], ids=["transport", "asgi"])
def fast(request: pytest.FixtureRequest) -> bool:
    """Both ways out: what a client sees is the same."""
    chosen: bool = request.param
    return chosen


@pytest.fixture
async def hub(settings: Settings, fast: bool) -> AsyncIterator[Hub]:
    async with running(settings, API_KEY, fast=fast) as hub:
        yield hub


@pytest.fixture
def hands(hub: Hub) -> Hands:
    return Hands(hub.services)


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


# ------------------------------------------------------------------ credentials


async def test_a_token_may_come_in_four_ways(hub: Hub) -> None:
    token = hub.token()
    async with wire(hub, "/ws/s1", token=token) as client:
        assert (await client.frame())["type"] == "hello"
        assert client.socket.subprotocol is None
    offered: Any = ["jobcast.v1", f"bearer.{token}"]
    async with wire(hub, "/ws/s1", None, subprotocols=offered) as client:
        assert (await client.frame())["type"] == "hello"
        assert client.socket.subprotocol == "jobcast.v1"
    async with wire(hub, f"/ws/s1?token={token}", None) as client:
        assert (await client.frame())["type"] == "hello"
    async with wire(hub, "/ws/s1", None) as client:
        await client.send(type="auth", token=token, ref="t")
        assert await client.frame() == {"type": "ok", "ref": "t"}
        assert (await client.frame())["type"] == "hello"
    async with wire(hub, "/ws/any", API_KEY) as client:
        assert (await client.frame())["type"] == "hello"


async def test_bad_credentials_are_told_by_a_close_code(hub: Hub) -> None:
    for token in ("nonsense", hub.token() + "x"):
        async with wire(hub, "/ws/s1", token) as client:
            assert await client.closed() == 4401
    old = jwt.encode(
        {"sub": "u", "sessions": ["s1"], "scope": "read", "exp": int(time.time()) - 60}, SECRET
    )
    async with wire(hub, "/ws/s1", old) as client:
        assert await client.closed() == 4401
        assert "expired" in (client.socket.close_reason or "")
    # A key in an address would end up in logs.
    async with wire(hub, f"/ws/s1?token={API_KEY}", None) as client:
        assert await client.closed() == 4401
    async with wire(hub, "/ws/s2") as client:
        assert await client.closed() == 4403
    async with wire(hub, "/ws/no%20id") as client:
        assert await client.closed() == 4400


async def test_without_a_token_nothing_but_auth_is_heard(
    hub: Hub, hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with wire(hub, token=None) as client:
        await client.send(type="subscribe", session_id="s1", ref=1)
        assert await client.closed() == 4401
        assert client.frames[0]["code"] == 4401
    async with wire(hub, token=None) as client:
        await client.send(type="auth", token="nonsense")
        assert await client.closed() == 4401
    monkeypatch.setattr("hub.websocket.AUTH_WAIT", 0.05)
    async with wire(hub, token=None) as client:
        assert await client.closed() == 4401
        assert client.frames == []


async def test_a_token_that_expires_ends_the_socket_unless_it_is_renewed(
    settings: Settings, fast: bool
) -> None:
    async with running(dataclasses.replace(settings, ws_heartbeat=0.2), API_KEY, fast=fast) as hub:
        short = hub.token(ttl=1)
        async with wire(hub, "/ws/s1", short) as stays, wire(hub, "/ws/s1", short) as ends:
            await stays.send(type="auth", token=hub.token(), ref="more")
            await stays.until("ok")
            assert await ends.closed() == 4401
            await stays.send(type="ping")
            await stays.until("pong")


async def test_auth_renews_for_the_same_holder_only(hub: Hub) -> None:
    async with wire(hub, "/ws/s1") as client:
        await client.until("hello")
        await client.send(type="auth", token=hub.token(sub="somebody else"), ref="x")
        assert await client.closed() == 4401
        assert client.frames[-1]["code"] == 4401
    async with wire(hub, token=hub.token("s1", "s2")) as client:
        for session_id in ("s1", "s2"):
            await client.send(type="subscribe", session_id=session_id)
            await client.until("hello")
        await client.send(type="auth", token=hub.token("s1"), ref="less")
        await client.until("ok")
        error = await client.until("error")
        assert (error["code"], error["session_id"]) == (4403, "s2")


async def test_a_foreign_origin_is_refused_by_http(hub: Hub) -> None:
    port = int(hub.url.rpartition(":")[2])
    foreign: list[tuple[str, dict[str, str]]] = [
        (f"ws://127.0.0.1:{port}/ws", {"Origin": "https://evil.example"}),
        # A name that was rebound to the loopback address.
        (f"ws://evil.example:{port}/ws", {}),
    ]
    for url, headers in foreign:
        with pytest.raises(InvalidStatus) as refused:
            async with connect(url, host="127.0.0.1", port=port, additional_headers=headers):
                raise AssertionError("was let in")
        assert refused.value.response.status_code == 403
    async with wire(hub, "/ws/s1", headers={"Origin": hub.url}) as client:
        await client.until("hello")


# ------------------------------------------------------------------ limits


async def test_limits_send_away_for_now(settings: Settings, fast: bool) -> None:
    tight = dataclasses.replace(settings, sessions_per_socket=2, connections_per_session=2)
    async with running(tight, API_KEY, fast=fast) as hub:
        token = hub.token("a", "b", "c")
        async with wire(hub, token=token) as client:
            for session_id in "aba":
                await client.send(type="subscribe", session_id=session_id)
                await client.until("hello")
            await client.send(type="subscribe", session_id="c", ref=1)
            error = await client.frame()
            assert (error["code"], error["status"], error["session_id"]) == (4010, 429, "c")
            async with wire(hub, "/ws/a", hub.token("a")) as second:
                await second.until("hello")
                async with wire(hub, "/ws/a", hub.token("a")) as third:
                    assert await third.closed() == 4010
                    goodbye = third.frames[0]
                    assert (goodbye["type"], goodbye["code"]) == ("goodbye", 4010)
                    assert goodbye["reconnect_after"] > 0
                async with wire(hub, token=hub.token("a")) as fourth:
                    await fourth.send(type="subscribe", session_id="a")
                    assert (await fourth.frame())["code"] == 4010
            await client.send(type="unsubscribe", session_id="b")
            await client.until("ok")
            await client.send(type="subscribe", session_id="c")
            await client.until("hello")


async def test_connecting_too_often_is_sent_away(settings: Settings, fast: bool) -> None:
    async with running(dataclasses.replace(settings, connect_rate=0.01), API_KEY, fast=fast) as hub:
        hub.services.connect_limit._burst = 0.0
        async with wire(hub) as client:
            assert await client.closed() == 4010
            assert client.frames[0]["reconnect_after"] > 1


# ------------------------------------------------------------------ heartbeats and ends


async def test_heartbeats_cover_what_was_sent_before_them(settings: Settings, fast: bool) -> None:
    async with running(dataclasses.replace(settings, ws_heartbeat=0.1), API_KEY, fast=fast) as hub:
        hands = Hands(hub.services)
        async with wire(hub, "/ws/s1") as client:
            await client.until("hello")
            assert (await client.until("heartbeat"))["cursors"] == {"s1": "0-0"}
            await hands.queue()
            event = await client.until("job.pending")
            while (await client.until("heartbeat"))["cursors"] == {"s1": "0-0"}:
                pass
            assert client.frames[-1]["cursors"] == {"s1": event["id"]}
            assert client.frames[-1]["time"].endswith("Z")


async def test_a_deleted_session_ends_its_subscriptions(hub: Hub, hands: Hands) -> None:
    await hands.queue()
    async with wire(hub, "/ws/s1") as one, wire(hub, token=hub.token("s1", "s2")) as many:
        await one.until("hello")
        for session_id in ("s1", "s2"):
            await many.send(type="subscribe", session_id=session_id)
            await many.until("hello")
        assert (await hub.client.delete("/sessions/s1")).status_code < 300
        assert await one.closed() == 4410
        error = await many.until("error")
        assert (error["code"], error["status"], error["session_id"]) == (4410, 410, "s1")
        await hands.queue("s2")
        await many.until("job.pending", session_id="s2")
        await many.send(type="subscribe", session_id="s1", after=one.frames[-1].get("id"))
        hello = await many.until("hello")
        assert (hello["jobs"], hello["cursor"]) == ([], "0-0")


async def test_a_drain_says_goodbye_and_when_to_come_back(settings: Settings, fast: bool) -> None:
    async with running(settings, API_KEY, fast=fast) as hub:
        async with wire(hub, "/ws/s1") as client:
            await client.until("hello")
            drained = asyncio.create_task(hub.services.drain())
            assert await client.closed() == 1001
            goodbye = client.frames[-1]
            assert (goodbye["type"], goodbye["code"]) == ("goodbye", 1001)
            assert 0 < goodbye["reconnect_after"] <= 20
            async with wire(hub, "/ws/s1") as late:
                assert await late.closed() == 1001
            await drained
        assert len(hub.services.streams) == 0


async def test_a_client_that_vanishes_leaves_nothing(hub: Hub) -> None:
    async with wire(hub, "/ws/s1") as client:
        await client.until("hello")
        assert hub.services.fanout.subscribers == 1
        client.socket.transport.abort()
    await wait_until(no_streams(hub), "the end of the stream")
    assert hub.services.fanout.subscribers == 0


# ------------------------------------------------------------------ slow clients


@pytest.fixture
async def narrow(settings: Settings, fast: bool) -> AsyncIterator[Hub]:
    """A hub whose clients fall behind early."""
    async with running(
        dataclasses.replace(settings, unsent_bytes=4_096), API_KEY, fast=fast
    ) as hub:
        yield hub


def no_streams(hub: Hub) -> Callable[[], Awaitable[bool]]:
    async def none() -> bool:
        return len(hub.services.streams) == 0

    return none


async def test_a_slow_client_lags_and_has_every_lifecycle_event_in_the_end(narrow: Hub) -> None:
    hands = Hands(narrow.services)
    async with wire(narrow, "/ws/s1", narrow=True) as client:
        await client.until("hello")
        job_id = await hands.start()
        jobs = 1 + await stuck(narrow, hands)
        for percent in range(1, 51):
            await hands.progress(job_id, percent)
            await hands.log(job_id, percent, f"line {percent}")
        for _ in range(100):
            await hands.queue()
        jobs += 100
        pending = 0
        while pending < jobs:
            await client.until("job.pending")
            pending += 1
        progress = await client.until("job.progress")
        gap = await client.until("job.log_gap")
        await hands.log(job_id, 51, "live again")
        assert (await client.until("job.log"))["line"] == 51
        await hands.finish(job_id)
        await client.until("job.completed")
    numbers = [int(cursor.split("-")[0]) for cursor in client.lifecycle]
    assert numbers == list(range(1, len(numbers) + 1))
    assert progress["data"]["progress"] == {"percent": 50}
    assert (gap["job_id"], gap["data"]) == (job_id, {"from": 1, "to": 50})
    kinds = [frame["type"] for frame in client.frames]
    assert kinds.count("job.progress") == kinds.count("job.log_gap") == kinds.count("hello") == 1


async def test_a_client_without_progress_is_closed_as_too_slow(
    settings: Settings, fast: bool
) -> None:
    impatient = dataclasses.replace(settings, unsent_bytes=4_096, stall_close=0.3)
    async with running(impatient, API_KEY, fast=fast) as hub:
        hands = Hands(hub.services)
        async with wire(hub, "/ws/s1", narrow=True) as client:
            await client.until("hello")
            await stuck(hub, hands)

            async def given_up() -> bool:
                return hub.services.fanout.subscribers == 0

            await wait_until(given_up, "giving up on the client")
            assert await client.closed() == 4008
            goodbye = client.frames[-1]
            assert (goodbye["type"], goodbye["code"]) == ("goodbye", 4008)


async def test_a_client_that_asks_and_does_not_read_is_not_read_from(narrow: Hub) -> None:
    flood = json.dumps({"type": "ping", "ref": "x" * 120})

    async def ask(client: Wire) -> None:
        while True:
            await client.socket.send(flood)

    async with wire(narrow, narrow=True) as client:
        # It never ends by itself: the hub stops reading, and then the client cannot send.
        asking = asyncio.create_task(ask(client))
        streams = narrow.services.streams

        async def full() -> bool:
            return streams.unsent > 4_096

        await wait_until(full, "answers that wait for the client to read")
        for _ in range(100):
            await asyncio.sleep(0)
            assert streams.unsent < 2 * 4_096
        assert not asking.done()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        client.socket.transport.abort()
