"""The doors to webhooks: who may do what, and what is told to whom."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
from redis.asyncio import Redis
from starlette.applications import Starlette

from hub import problems
from hub.api.operation import routes_of
from hub.api.webhooks import OPERATIONS
from hub.auth import Authenticator
from hub.errors import JobcastError
from hub.scripts import Scripts
from hub.settings import Settings
from hub.webhooks.signing import credential_secret, derive_secret, secret_bytes
from tests.conftest import API_KEY, SECRET

OTHER_KEY = "other-key-0123456789abcdef"
HUB_SECRET = SECRET.encode()
URL = "https://hooks.example.com/in"


@pytest.fixture
def auth(settings: Settings) -> Authenticator:
    return Authenticator(
        Settings(secret=settings.secret, api_keys=f"test:{API_KEY},other:{OTHER_KEY}")
    )


@pytest.fixture
async def http(
    redis: Redis, scripts: Scripts, settings: Settings, auth: Authenticator
) -> AsyncIterator[httpx2.AsyncClient]:
    app = Starlette(
        routes=routes_of(OPERATIONS), exception_handlers={JobcastError: problems.handle}
    )
    app.state.services = SimpleNamespace(redis=redis, scripts=scripts, settings=settings, auth=auth)
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://hub") as client:
        yield client


def key(value: str = API_KEY) -> dict[str, str]:
    return {"Authorization": f"Bearer {value}"}


def token(auth: Authenticator, *sessions: str, scope: str = "admin") -> dict[str, str]:
    return key(auth.mint("u1", list(sessions), scope).token)


async def create(http: httpx2.AsyncClient, headers: dict[str, str], **body: Any) -> dict[str, Any]:
    reply = await http.post("/webhooks", headers=headers, json={"url": URL, **body})
    assert reply.status_code == 201, reply.text
    made: dict[str, Any] = reply.json()
    assert reply.headers["location"] == f"/webhooks/{made['id']}"
    return made


async def test_a_webhook_is_made_shown_listed_and_deleted(http: httpx2.AsyncClient) -> None:
    made = await create(
        http, key(), session_id="s1", types=["job.failed", "job.running"], description="mine"
    )
    assert made["secret"] == derive_secret(HUB_SECRET, made["id"], 1)
    assert len(secret_bytes(made["secret"])) == 32
    del made["secret"]
    expected = {
        "url": URL,
        "session_id": "s1",
        "types": ["job.running", "job.failed"],
        "description": "mine",
        "owner": "test",
        "generation": 1,
        "failing_since": None,
        "disabled": None,
    }
    assert {name: made[name] for name in expected} == expected
    shown = await http.get(f"/webhooks/{made['id']}", headers=key())
    assert shown.json() == {**made, "secret": derive_secret(HUB_SECRET, made["id"], 1)}
    listed = await http.get("/webhooks?session_id=s1", headers=key())
    assert listed.json() == {"webhooks": [made], "more": None}
    assert (await http.get("/webhooks?session_id=s2", headers=key())).json()["webhooks"] == []
    assert (await http.delete(f"/webhooks/{made['id']}", headers=key())).status_code == 204
    for call in (http.get, http.delete):
        assert (await call(f"/webhooks/{made['id']}", headers=key())).status_code == 404


async def test_without_types_it_gets_the_endings_and_questions(http: httpx2.AsyncClient) -> None:
    made = await create(http, key())
    assert made["session_id"] is None
    assert set(made["types"]) == {
        "job.completed",
        "job.failed",
        "job.cancelled",
        "job.input_required",
    }


async def test_the_secret_is_its_owners(http: httpx2.AsyncClient) -> None:
    made = await create(http, key())
    seen = await http.get(f"/webhooks/{made['id']}", headers=key(OTHER_KEY))
    assert seen.status_code == 200
    assert seen.json()["secret"] is None


async def test_an_admin_token_has_those_of_sessions(
    http: httpx2.AsyncClient, auth: Authenticator
) -> None:
    every = await create(http, key())
    admin = token(auth, "s1")
    own = await create(http, admin, session_id="s1")
    assert own["owner"] == "sub:u1"
    listed = (await http.get("/webhooks", headers=admin)).json()["webhooks"]
    assert [webhook["id"] for webhook in listed] == [own["id"]]
    assert (await http.get(f"/webhooks/{every['id']}", headers=admin)).status_code == 404
    assert (await http.delete(f"/webhooks/{every['id']}", headers=admin)).status_code == 404
    refused = await http.post("/webhooks", headers=admin, json={"url": URL})
    assert refused.status_code == 403
    assert "API key" in refused.json()["detail"]
    assert (await http.delete(f"/webhooks/{own['id']}", headers=admin)).status_code == 204


async def test_without_admin_there_is_nothing_to_see(
    http: httpx2.AsyncClient, auth: Authenticator
) -> None:
    made = await create(http, key(), session_id="s1")
    plain = token(auth, "s1", scope="read cancel enqueue input approve")
    body = {"url": URL, "session_id": "s1"}
    replies = [
        await http.post("/webhooks", headers=plain, json=body),
        await http.get("/webhooks", headers=plain),
        await http.get(f"/webhooks/{made['id']}", headers=plain),
        await http.get(f"/webhooks/wh_{'0' * 32}", headers=plain),
        await http.delete(f"/webhooks/{made['id']}", headers=plain),
    ]
    assert {reply.status_code for reply in replies} == {403}
    assert "scope admin" in replies[0].json()["detail"]
    assert replies[2].json() == replies[3].json()
    assert (await http.get("/webhooks")).status_code == 401


async def test_the_secret_of_one_offs(http: httpx2.AsyncClient, auth: Authenticator) -> None:
    mine = await http.get("/webhooks/secret", headers=key())
    assert mine.json() == {"secret": credential_secret(HUB_SECRET, "test")}
    other = await http.get("/webhooks/secret", headers=key(OTHER_KEY))
    assert other.json() != mine.json()
    refused = await http.get("/webhooks/secret", headers=token(auth, "s1"))
    assert refused.status_code == 403


@pytest.mark.parametrize(
    ("body", "pointer", "words"),
    [
        ({"url": "http://example.com/"}, "/url", "https://"),
        ({"url": "https://10.0.0.1/"}, "/url", "JOBCAST_WEBHOOK_ALLOW_NETS"),
        ({"url": "https://u:p@example.com/"}, "/url", "user name"),
        ({"url": "https://2130706433/"}, "/url", "four decimal numbers"),
        ({"url": "https://example.com/" + "a" * 2048}, "/url", "2048"),
        ({"url": URL, "types": ["job.completed", "job.done"]}, "/types/1", "job.completed"),
        ({"url": URL, "types": ["job.progress"]}, "/types/0", "job.completed"),
        ({"url": URL, "types": ["message.agent"]}, "/types/0", "job.completed"),
        ({"url": URL, "types": []}, "/types", ">= 1"),
        ({"url": URL, "session_id": "no good"}, "/session_id", "A-Z"),
        ({"url": URL, "secret": "whsec_"}, "/secret", "not known"),
        ({}, "/url", "required"),
    ],
)
async def test_what_does_not_fit_is_told_by_field(
    http: httpx2.AsyncClient, body: dict[str, Any], pointer: str, words: str
) -> None:
    reply = await http.post("/webhooks", headers=key(), json=body)
    assert reply.status_code == 422
    assert reply.headers["content-type"] == "application/problem+json"
    (error,) = reply.json()["errors"]
    assert error["pointer"] == pointer
    assert words in error["detail"]


async def test_a_page_follows_the_other_and_a_strange_cursor_is_refused(
    http: httpx2.AsyncClient,
) -> None:
    ids = {(await create(http, key(), session_id=f"s{number}"))["id"] for number in range(5)}
    seen: list[str] = []
    query = "?limit=2"
    while True:
        page = (await http.get(f"/webhooks{query}", headers=key())).json()
        seen += [webhook["id"] for webhook in page["webhooks"]]
        if page["more"] is None:
            break
        query = f"?limit=2&cursor={page['more']}"
    assert len(seen) == 5
    assert set(seen) == ids
    assert (await http.get("/webhooks?cursor=x", headers=key())).status_code == 422


async def test_a_scope_has_so_many_and_no_more(http: httpx2.AsyncClient) -> None:
    for _ in range(20):
        await create(http, key(), session_id="s1")
    body = {"url": URL, "session_id": "s1"}
    full = await http.post("/webhooks", headers=key(), json=body)
    assert full.status_code == 409
    assert "20 webhooks" in full.json()["detail"]
    await create(http, key(), session_id="s2")
