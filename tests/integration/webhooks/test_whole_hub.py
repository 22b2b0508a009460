"""Webhooks of a whole hub: registered, fed by jobs, forgotten with their session."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from standardwebhooks import Webhook as Verifier

from hub.app import create_app
from hub.settings import Settings
from tests.conftest import API_KEY
from tests.receiver import answer, serving

KEY = {"Authorization": f"Bearer {API_KEY}"}


@pytest.fixture
async def http(settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    allowing = replace(settings, webhook_allow_http=True, webhook_allow_nets="127.0.0.1")
    app = create_app(allowing)
    async with app.router.lifespan_context(app):
        transport = httpx2.ASGITransport(app=app)
        base = "http://127.0.0.1"
        async with httpx2.AsyncClient(transport=transport, base_url=base, headers=KEY) as client:
            yield client


async def completed(http: httpx2.AsyncClient, **more: Any) -> str:
    """A job of somebody else's queue, so that no worker is needed."""
    body = {"session_id": "s1", "task": "theirs", "queue": None, **more}
    queued = await http.post("/jobs", json=body)
    assert queued.status_code == 202, queued.text
    job_id: str = queued.json()["job_id"]
    events = {"token": queued.json()["token"], "events": [{"type": "completed", "result": [1]}]}
    reply = await http.post(f"/jobs/{job_id}/events", json=events)
    assert reply.json() == {"status": "completed"}
    return job_id


async def test_from_registration_to_a_verified_delivery(http: httpx2.AsyncClient) -> None:
    async with serving(None, answer("200 OK")) as receiver, asyncio.timeout(30):
        made = (await http.post("/webhooks", json={"url": receiver.url})).json()
        job_id = await completed(http)
        await receiver.got(1)
        request = receiver.requests[0]
        body = Verifier(made["secret"]).verify(request.body, request.headers)
        assert (body["type"], body["data"]["id"]) == ("job.completed", job_id)
        assert body["data"]["result"] == [1]
        assert (await http.delete(f"/webhooks/{made['id']}")).status_code == 204

        own = (await http.get("/webhooks/secret")).json()["secret"]
        job_id = await completed(http, webhook_url=receiver.url)
        await receiver.got(2)
        request = receiver.requests[1]
        body = Verifier(own).verify(request.body, request.headers)
        assert (body["type"], body["data"]["id"]) == ("job.completed", job_id)
        shown = (await http.get(f"/jobs/{job_id}")).json()
        assert shown["webhook_url"] == receiver.url
    assert len(receiver.requests) == 2


async def test_a_deleted_session_takes_its_webhooks_along(http: httpx2.AsyncClient) -> None:
    url = "https://hooks.example.com/"
    made = (await http.post("/webhooks", json={"url": url, "session_id": "s1"})).json()
    kept = (await http.post("/webhooks", json={"url": url})).json()
    assert (await http.delete("/sessions/s1")).status_code == 204
    assert (await http.get(f"/webhooks/{made['id']}")).status_code == 404
    assert (await http.get(f"/webhooks/{kept['id']}")).status_code == 200
    assert (await http.delete("/sessions/s1")).status_code == 404
