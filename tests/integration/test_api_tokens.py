"""Tokens over HTTP, and sign-in codes."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

import jwt
import pytest
from redis.asyncio import Redis

from hub import keys
from hub.auth import RENEWABLE
from hub.errors import BadInput
from hub.sign_in import CODE_TTL, Grant, create_code
from tests.conftest import SECRET
from tests.running_hub import Hub


async def made(hub: Hub, body: Any, token: str | None = None, status: int = 200) -> dict[str, Any]:
    if token is None:
        reply = await hub.client.post("/tokens", json=body)
    else:
        async with hub.as_(token or None) as client:
            reply = await client.post("/tokens", json=body)
    assert reply.status_code == status, reply.text
    found: dict[str, Any] = reply.json()
    return found


async def test_a_key_mints(hub: Hub) -> None:
    told = await made(hub, {"sub": "ada", "sessions": ["s1", "team:*"]})
    assert (told["sub"], told["sessions"]) == ("ada", ["s1", "team:*"])
    assert told["scope"] == "read cancel enqueue input"
    left = datetime.fromisoformat(told["expires_at"]).timestamp() - time.time()
    assert 3_500 < left <= 3_600
    claims = jwt.decode(told["token"], SECRET, algorithms=["HS256"])
    assert claims["scope"] == told["scope"]
    async with hub.as_(told["token"]) as ada:
        assert (await ada.get("/sessions/team:x")).status_code == 200
        assert (await ada.get("/sessions/s2")).status_code == 403
    named = await made(hub, {"sessions": ["s1"], "scope": "read approve", "ttl": 60})
    assert (named["sub"], named["scope"]) == ("test", "read approve")


async def test_what_a_key_cannot_mint(hub: Hub) -> None:
    cases: list[tuple[Any, list[str]]] = [
        ({}, ["/sessions"]),
        ({"sessions": []}, ["/sessions"]),
        ({"sessions": ["a b"]}, ["/sessions/0"]),
        ({"sessions": "s1"}, ["/sessions"]),
        ({"sessions": ["s1"], "scope": "root"}, ["/scope"]),
        ({"sessions": ["s1"], "ttl": 0}, ["/ttl"]),
        ({"sessions": ["s1"], "ttl": "1h"}, ["/ttl"]),
        ({"sessions": ["s1"], "sub": ""}, ["/sub"]),
        ({"sessions": ["s1"], "aud": "x"}, ["/aud"]),
    ]
    for body, wrong in cases:
        problem = await made(hub, body, status=422)
        assert [error["pointer"] for error in problem["errors"]] == wrong, body


async def test_a_token_renews_itself_and_never_widens(hub: Hub) -> None:
    held = hub.token("s1", "s2", scope="read input", sub="ada", ttl=60)
    fresh = await made(hub, {}, held)
    assert (fresh["sub"], fresh["sessions"], fresh["scope"]) == ("ada", ["s1", "s2"], "read input")
    narrow = await made(hub, {"sessions": ["s1"], "scope": "read"}, held)
    assert (narrow["sessions"], narrow["scope"]) == (["s1"], "read")
    await made(hub, {"sessions": ["s3"]}, held, 403)
    await made(hub, {"scope": "admin"}, held, 403)
    await made(hub, {"sub": "eve"}, held, 403)
    old = hub.token("s1", auth_time=time.time() - RENEWABLE)
    assert "sign in" in (await made(hub, {}, old, 403))["detail"]


async def test_nobody_mints_for_nobody(hub: Hub) -> None:
    for body in ({}, {"sessions": ["s1"]}):
        await made(hub, body, "", 401)
    await made(hub, {"sessions": ["s1"]}, "not-a-key", 401)


async def test_a_code_is_worth_a_token_once(hub: Hub, redis: Redis) -> None:
    grant = Grant(sub="dev", sessions=["chat:*"], scope="read input approve", ttl=120)
    code = await create_code(redis, grant)
    told = await made(hub, {"code": code}, "")
    assert (told["sub"], told["sessions"]) == ("dev", ["chat:*"])
    assert told["scope"] == "read input approve"
    await made(hub, {"code": code}, "", 401)
    await made(hub, {"code": "nonsense"}, "", 401)
    assert [e["pointer"] for e in (await made(hub, {"code": ""}, "", 422))["errors"]] == ["/code"]


async def test_a_code_stands_alone(hub: Hub, redis: Redis) -> None:
    code = await create_code(redis, Grant(sub="dev", sessions=["chat:*"]))
    await made(hub, {"code": code, "scope": "admin"}, "", 422)
    await made(hub, {"code": code}, "")


async def test_redis_never_sees_a_code_and_forgets_it(hub: Hub, redis: Redis) -> None:
    code = await create_code(redis, Grant(sub="dev", sessions=["chat:*"]))
    [name] = [name async for name in redis.scan_iter(match=keys.sign_in_code("*"))]
    assert code not in str(name)
    ttl = await redis.ttl(name)
    assert 0 < ttl <= CODE_TTL
    with pytest.raises(BadInput):
        await create_code(redis, Grant(sub="dev", sessions=["*"]))
