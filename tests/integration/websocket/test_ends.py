"""Limits, heartbeats and the ends of a WebSocket."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
from collections.abc import Awaitable, Callable

import pytest

from hub.feed import Subscriber
from hub.settings import Settings
from hub.websocket import Socket, SocketWire
from tests.conftest import API_KEY, wait_until
from tests.running_hub import Hub, running
from tests.wire import Hands, wire


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


@pytest.mark.parametrize("trusted", [True, False])
async def test_connections_are_counted_by_who_a_trusted_proxy_says_it_is(
    settings: Settings, fast: bool, trusted: bool
) -> None:
    proxies = "127.0.0.1, 192.0.2.0/24" if trusted else "192.0.2.1"
    settings = dataclasses.replace(settings, connect_rate=0.01, trusted_proxies=proxies)

    async def arrives(*said: str) -> bool:
        headers = {"X-Forwarded-For": ", ".join(said)} if said else {}
        async with wire(hub, "/ws/s1", headers=headers) as client:
            return bool((await client.frame())["type"] == "hello")

    async with running(settings, API_KEY, fast=fast) as hub:
        hub.services.connect_limit._burst = 1.0
        assert await arrives("203.0.113.1", "192.0.2.7") is True
        # What is left of an address that is not trusted is only what that says.
        assert await arrives("203.0.113.2", "203.0.113.1") is False
        assert await arrives("203.0.113.2", "192.0.2.7") is trusted
        assert await arrives() is trusted


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


def no_streams(hub: Hub) -> Callable[[], Awaitable[bool]]:
    async def none() -> bool:
        return len(hub.services.streams) == 0

    return none


async def test_what_is_over_is_freed_without_the_collector(settings: Settings) -> None:
    gc.collect()
    gc.disable()
    try:
        async with running(settings, API_KEY) as hub:
            token = hub.token("s1", "s2")
            for way in range(3):
                async with wire(hub, "/ws/s1", token) as client:
                    await client.until("hello")
                    await client.send(type="subscribe", session_id="s2")
                    await client.until("hello")
                    if way == 1:
                        client.socket.transport.abort()
                    elif way == 2:
                        await client.send(type="auth", token="nonsense")
                        await client.closed()

            async def are_gone() -> bool:
                return not len(hub.services.streams)

            await wait_until(are_gone, "the end of all streams")
            kinds = (Socket, SocketWire, Subscriber)
            assert [one for one in gc.get_objects() if type(one) in kinds] == []
    finally:
        gc.enable()
