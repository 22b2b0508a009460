"""Tokens on a WebSocket: how they come, how they end, and from which pages."""

from __future__ import annotations

import dataclasses
import time
from types import SimpleNamespace
from typing import Any

import jwt
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from hub.settings import Settings
from tests.conftest import API_KEY, SECRET
from tests.running_hub import Hub, running
from tests.wire import Hands, wire


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
    settings: Settings, fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(dataclasses.replace(settings, ws_heartbeat=0.2), API_KEY, fast=fast) as hub:
        short = hub.token(ttl=600)
        async with wire(hub, "/ws/s1", short) as stays, wire(hub, "/ws/s1", short) as ends:
            await ends.until("hello")
            await stays.send(type="auth", token=hub.token(ttl=7_200), ref="more")
            await stays.until("ok")
            an_hour_later = SimpleNamespace(time=lambda: time.time() + 3_600)
            monkeypatch.setattr("hub.streams.time", an_hour_later)
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
            async with connect(
                url, open_timeout=60, host="127.0.0.1", port=port, additional_headers=headers
            ):
                raise AssertionError("was let in")
        assert refused.value.response.status_code == 403
    async with wire(hub, "/ws/s1", headers={"Origin": hub.url}) as client:
        await client.until("hello")
