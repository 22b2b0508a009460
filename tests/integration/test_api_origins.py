"""Hosts, origins, CORS and the headers of every response."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from hub.settings import Settings
from tests.conftest import API_KEY
from tests.running_hub import Hub, running

LISTED = "https://app.example.com"
EVIL = "https://evil.example"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(settings, origins=LISTED)


async def test_a_foreign_page_is_refused_before_its_credential_counts(hub: Hub) -> None:
    for origin in (EVIL, "null", LISTED + ".evil.example", "http://127.0.0.1:1"):
        for method, path in (("GET", "/jobs"), ("POST", "/jobs"), ("OPTIONS", "/jobs")):
            reply = await hub.client.request(method, path, headers={"Origin": origin})
            assert reply.status_code == 403
            assert "access-control-allow-origin" not in reply.headers
            assert reply.headers["content-type"] == "application/problem+json"


async def test_the_hubs_own_pages_may(hub: Hub) -> None:
    reply = await hub.client.get("/jobs", headers={"Origin": hub.url})
    assert reply.status_code == 200
    assert "access-control-allow-origin" not in reply.headers


async def test_listed_origins_may_and_are_told(hub: Hub) -> None:
    reply = await hub.client.get("/jobs", headers={"Origin": LISTED})
    assert reply.status_code == 200
    assert reply.headers["access-control-allow-origin"] == LISTED
    assert "Location" in reply.headers["access-control-expose-headers"]
    assert "Origin" in reply.headers["vary"]
    async with hub.as_(None) as nobody:
        reply = await nobody.get("/jobs", headers={"Origin": LISTED})
    assert reply.status_code == 401
    assert reply.headers["access-control-allow-origin"] == LISTED


async def test_preflight(hub: Hub) -> None:
    async with hub.as_(None) as nobody:
        reply = await nobody.options(
            "/jobs",
            headers={
                "Origin": LISTED,
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "authorization,content-type",
            },
        )
    assert reply.status_code == 204
    assert reply.headers["access-control-allow-origin"] == LISTED
    assert "POST" in reply.headers["access-control-allow-methods"]
    assert "Authorization" in reply.headers["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in reply.headers


async def test_a_rebound_name_is_refused(hub: Hub) -> None:
    for host in ("evil.example", "evil.example:80", "127.0.0.1.evil.example"):
        headers = {"Host": host, "Origin": f"http://{host}"}
        reply = await hub.client.get("/jobs", headers=headers)
        assert reply.status_code == 403
        reply = await hub.client.get("/", headers={"Host": host})
        assert reply.status_code == 403


async def test_a_foreign_page_gets_no_websocket(hub: Hub) -> None:
    url = hub.url.replace("http://", "ws://") + "/ws"
    for headers in ({"Origin": EVIL}, {"Origin": "null"}):
        with pytest.raises(InvalidStatus) as caught:
            async with connect(url, additional_headers=headers, open_timeout=60):
                pass
        assert caught.value.response.status_code == 403
    async with connect(url, additional_headers={"Origin": LISTED}, open_timeout=60):
        pass


async def test_every_response_has_its_guards(hub: Hub) -> None:
    for path in ("/jobs", "/nope", "/healthz", "/openapi.json", "/"):
        reply = await hub.client.get(path)
        assert reply.headers["x-content-type-options"] == "nosniff", path
        assert reply.headers["x-frame-options"] == "DENY"
        assert reply.headers["referrer-policy"] == "no-referrer"
        assert "default-src 'none'" in reply.headers["content-security-policy"]
        assert "server" not in reply.headers


async def test_behind_a_proxy(settings: Settings, valkey: Any) -> None:
    settings = replace(settings, public_url="https://jobs.example.com/base/")
    async with running(settings, API_KEY) as hub:
        headers = {"Host": "jobs.example.com", "Origin": "https://jobs.example.com"}
        assert (await hub.client.get("/jobs", headers=headers)).status_code == 200
        headers["Origin"] = "http://jobs.example.com.evil.example"
        assert (await hub.client.get("/jobs", headers=headers)).status_code == 403
