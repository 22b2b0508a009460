"""What every call refuses, taken from the table of operations, so that no new one is forgotten."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from hub.api import OPERATIONS
from hub.api.operation import Operation
from hub.jobs import new_job_id
from hub.settings import Settings
from tests.conftest import API_KEY, wait_until
from tests.running_hub import Hub, running

GUARDED = [o for o in OPERATIONS if not o.open and o.tag != "streams"]
WITH_BODY = [o for o in GUARDED if o.method in ("POST", "PATCH", "DELETE") and 400 in o.errors]


def path_of(operation: Operation) -> str:
    return operation.path.format(
        job_id=new_job_id("s1"),
        session_id="s1",
        queue="default",
        webhook_id="wh_0123",
        delivery_id="msg_0123",
    )


def is_problem(reply: Any, status: int) -> bool:
    body = reply.json()
    return (
        reply.status_code == status
        and reply.headers["content-type"] == "application/problem+json"
        and body["status"] == status
        and bool(body["title"])
        and bool(body["detail"])
        and body["type"] == "about:blank"
    )


async def test_no_credential_a_bad_one_an_expired_one(hub: Hub) -> None:
    expired = hub.token("s1", ttl=1, auth_time=1)
    dead = hub.services.auth
    dead._clock = lambda: 4e9  # an hour that is past every token's
    for token in (None, "nonsense", expired):
        async with hub.as_(token) as client:
            for operation in GUARDED:
                body: Any = {} if operation.method == "POST" else None
                reply = await client.request(operation.method, path_of(operation), json=body)
                assert is_problem(reply, 401), (operation.name, token, reply.text)
                assert reply.headers["www-authenticate"] == "Bearer"


async def test_a_token_in_the_url_is_for_streams_only(hub: Hub) -> None:
    async with hub.as_(None) as nobody:
        reply = await nobody.get("/sessions/s1", params={"token": hub.token("s1")})
        assert is_problem(reply, 401)


async def test_basic_credentials_are_none(hub: Hub) -> None:
    async with hub.as_(None, Authorization=f"Basic {API_KEY}") as client:
        assert is_problem(await client.get("/jobs"), 401)


@pytest.mark.parametrize(
    "raw",
    [b"{", b"[1,", b"\xff\xfe", b'{"a":"\xff"}', b"nonsense", b"[" * 100_000],
    ids=["open", "list", "utf16", "utf8", "word", "deep"],
)
async def test_malformed_json(hub: Hub, raw: bytes) -> None:
    for operation in WITH_BODY:
        reply = await hub.client.request(
            operation.method,
            path_of(operation),
            content=raw,
            headers={"Content-Type": "application/json"},
        )
        assert is_problem(reply, 400), (operation.name, reply.text)


async def test_other_content_types(hub: Hub) -> None:
    for operation in WITH_BODY:
        for media in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
            reply = await hub.client.request(
                operation.method,
                path_of(operation),
                content=b"a=1",
                headers={"Content-Type": media},
            )
            assert is_problem(reply, 415), (operation.name, media, reply.text)


async def test_bodies_that_are_no_objects_or_have_unknown_members(hub: Hub) -> None:
    for operation in WITH_BODY:
        for body in (b"[]", b"1", b"null", b'"x"', b'{"\\u0000nonsense":1}'):
            reply = await hub.client.request(
                operation.method,
                path_of(operation),
                content=body,
                headers={"Content-Type": "application/json; charset=utf-8"},
            )
            assert is_problem(reply, 422), (operation.name, body, reply.text)
            assert reply.json()["errors"]


async def test_bodies_that_are_too_large(hub: Hub) -> None:
    large = json.dumps({"x": "y" * hub.settings.body_bytes}).encode()
    for operation in WITH_BODY:
        reply = await hub.client.request(
            operation.method,
            path_of(operation),
            content=large,
            headers={"Content-Type": "application/json"},
        )
        assert is_problem(reply, 413), (operation.name, reply.text)


async def test_a_body_without_a_length_is_counted_while_it_comes(hub: Hub) -> None:
    sent = 0

    async def body(chunks: int) -> AsyncIterator[bytes]:
        nonlocal sent
        yield b'{"x":"'
        for _ in range(chunks):
            sent += 65_536
            yield b"y" * 65_536

    headers = {"Content-Type": "application/json"}
    assert is_problem(await hub.client.post("/jobs", content=body(5), headers=headers), 413)
    sent = 0
    # Cut off while it is still being sent; whether the answer is seen is up to the network.
    with suppress(httpx2.TransportError):
        assert (await hub.client.post("/jobs", content=body(2_000), headers=headers)).is_error
    assert sent < 30_000_000


async def test_a_wrong_length_is_refused(hub: Hub) -> None:
    for length in ("-1", "x", "9" * 30):
        reply = await raw_request(hub, f"POST /jobs HTTP/1.1\r\nContent-Length: {length}\r\n")
        assert reply.split(b" ")[1] in (b"400", b"413"), reply


async def raw_request(hub: Hub, head: str) -> bytes:
    host = hub.url.removeprefix("http://")
    name, _, port = host.partition(":")
    reader, writer = await asyncio.open_connection(name, int(port))
    try:
        lines = f"{head}Host: {host}\r\nAuthorization: Bearer {API_KEY}\r\n\r\n"
        writer.write(lines.encode())
        async with asyncio.timeout(60):
            return await reader.readline()
    finally:
        writer.close()
        await writer.wait_closed()


async def test_wrong_methods_are_told_the_right_ones(hub: Hub) -> None:
    paths: dict[str, set[str]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, set()).add(operation.method)
    names = {operation.path: path_of(operation) for operation in OPERATIONS}
    for path, methods in paths.items():
        reply = await hub.client.put(names[path])
        assert is_problem(reply, 405), path
        assert set(reply.headers["allow"].split(", ")) - {"HEAD"} == methods


async def test_unknown_addresses(hub: Hub) -> None:
    for path in ("/nope", "/jobs/", "/jobs/x/y", "/sessions/s1/nope"):
        assert is_problem(await hub.client.get(path), 404), path


async def test_wrong_query_parameters(hub: Hub) -> None:
    for operation in GUARDED:
        if operation.query is not None:
            reply = await hub.client.request(
                operation.method, path_of(operation), params={"nonsense": "1"}
            )
            assert is_problem(reply, 422), (operation.name, reply.text)
            assert reply.json()["errors"][0]["pointer"] == "/nonsense"


async def test_nothing_may_be_kept_by_caches(hub: Hub) -> None:
    for path in ("/jobs", "/sessions/s1", "/nope", "/healthz"):
        assert (await hub.client.get(path)).headers["cache-control"] == "no-store"


async def test_what_nobody_foresaw_tells_nothing(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(_: str) -> None:
        raise ValueError("a secret of the inside")

    monkeypatch.setattr(hub.services.store, "snapshot", broken)
    reply = await hub.client.get("/sessions/s1")
    assert is_problem(reply, 500)
    assert "secret" not in reply.text
    assert "a secret of the inside" in caplog.text


async def test_too_many_jobs(settings: Settings, valkey: Any) -> None:
    async with running(replace(settings, enqueue_rate=0.2), API_KEY) as hub:
        body = {"task": "x", "session_id": "s1", "queue": None}
        assert (await hub.client.post("/jobs", json=body)).status_code == 202
        reply = await hub.client.post("/jobs", json=body)
        assert is_problem(reply, 429)
        assert 1 <= int(reply.headers["retry-after"]) <= 5
        async with hub.as_(hub.token("s1")) as ada:
            assert (await ada.post("/jobs", json=body)).status_code == 202


async def test_redis_away_is_a_503(settings: Settings, own_valkey: Any) -> None:
    async with running(replace(settings, redis_url=own_valkey.url), API_KEY) as hub:
        assert (await hub.client.get("/jobs")).status_code == 200
        own_valkey.kill()
        reply = await hub.client.get("/jobs")
        assert is_problem(reply, 503)
        assert int(reply.headers["retry-after"]) >= 1
        assert "Connection" not in reply.text
        assert (await hub.client.get("/healthz")).status_code == 200
        own_valkey.start()

        async def back() -> bool:
            return (await hub.client.get("/jobs")).status_code == 200

        await wait_until(back, "the hub is back with Redis")
