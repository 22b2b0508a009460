"""Operating webhooks through a whole hub: changed, rotated, tested, looked into, sent again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

from hub.app import create_app
from hub.settings import Settings
from tests.conftest import API_KEY, free_port, wait_until
from tests.integration.webhooks.steps import OK
from tests.integration.webhooks.test_whole_hub import KEY, completed
from tests.receiver import Server, answer, serving

BROKEN = answer("500 Broken", body="no such table: käse\x1b[2J\n".encode() + b"x" * 20_000)


@pytest.fixture
async def http(settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    keys = f"{settings.api_keys},other:other-key-0123456789abcdef"
    app = create_app(
        replace(settings, webhook_allow_http=True, webhook_allow_nets="127.0.0.1", api_keys=keys)
    )
    async with app.router.lifespan_context(app):
        transport = httpx2.ASGITransport(app=app)
        base = "http://127.0.0.1"
        async with (
            httpx2.AsyncClient(transport=transport, base_url=base, headers=KEY) as client,
            asyncio.timeout(40),
        ):
            yield client


@asynccontextmanager
async def mendable() -> AsyncIterator[tuple[Server, asyncio.Event]]:
    """An endpoint that answers 410 until the event is set."""
    mended = asyncio.Event()

    async def reply(writer: asyncio.StreamWriter) -> None:
        await (OK if mended.is_set() else answer("410 Gone", body=b"moved away"))(writer)

    async with serving(None, reply) as server:
        yield server, mended


async def made(http: httpx2.AsyncClient, url: str, **body: Any) -> dict[str, Any]:
    reply = await http.post("/webhooks", json={"url": url, **body})
    assert reply.status_code == 201, reply.text
    found: dict[str, Any] = reply.json()
    return found


async def deliveries(http: httpx2.AsyncClient, webhook_id: str, **query: str) -> list[Any]:
    reply = await http.get(f"/webhooks/{webhook_id}/deliveries", params=query)
    assert reply.status_code == 200, reply.text
    found: list[Any] = reply.json()["deliveries"]
    return found


async def ended(http: httpx2.AsyncClient, webhook_id: str, status: str, count: int) -> list[Any]:
    """The deliveries of this status, once there are so many."""

    async def there() -> bool:
        return len(await deliveries(http, webhook_id, status=status)) >= count

    await wait_until(there, f"{count} deliveries are {status}")
    return await deliveries(http, webhook_id, status=status)


async def test_a_test_goes_the_way_of_every_event(http: httpx2.AsyncClient) -> None:
    async with serving(None, OK) as receiver:
        hook = await made(http, receiver.url, session_id="s1")
        sent = await http.post(f"/webhooks/{hook['id']}/test?wait=20")
        assert sent.status_code == 202
        delivery = sent.json()
        assert sent.headers["location"] == f"/deliveries/{delivery['id']}"
        assert (delivery["status"], delivery["test"], delivery["job_id"]) == ("done", True, None)
        assert delivery["last_try"]["status"] == 200
        example = await http.post(
            f"/webhooks/{hook['id']}/test?wait=20", json={"type": "job.input_required"}
        )
        assert example.json()["status"] == "done"
    plain, job = (Verifier(hook["secret"]).verify(r.body, r.headers) for r in receiver.requests)
    assert plain == delivery["body"]
    assert (plain["type"], plain["data"]["metadata"]) == ("webhook.test", {"test": True})
    assert (job["type"], job["data"]["status"]) == ("job.input_required", "input_required")
    assert (job["data"]["metadata"], job["data"]["session_id"]) == ({"test": True}, "s1")
    assert job["data"]["input"]["options"] == ["yes", "no"]


async def test_an_example_has_the_members_of_a_real_event(http: httpx2.AsyncClient) -> None:
    async with serving(None, OK) as receiver:
        hook = await made(http, receiver.url)
        await completed(http)
        await http.post(f"/webhooks/{hook['id']}/test?wait=20", json={"type": "job.completed"})
        await receiver.got(2)
    verify = Verifier(hook["secret"]).verify
    one, other = (verify(request.body, request.headers)["data"] for request in receiver.requests)
    assert set(one) == set(other)


async def test_a_failing_test_tells_what_was_answered_and_is_over(
    http: httpx2.AsyncClient,
) -> None:
    async with serving(None, BROKEN) as receiver:
        hook = await made(http, receiver.url)
        sent = (await http.post(f"/webhooks/{hook['id']}/test?wait=20")).json()
    assert (sent["status"], sent["tries"], len(sent["history"])) == ("dead", 1, 1)
    said = sent["last_try"]
    assert (said["status"], said["error"]) == (500, None)
    assert said["response"].startswith("no such table: käse\ufffd[2J\nxxx"), "nothing unprintable"
    assert len(said["response"].encode()) < 600
    after = (await http.get(f"/webhooks/{hook['id']}")).json()
    assert (after["failing_since"], after["disabled"]) == (None, None)
    assert len(receiver.requests) == 1
    nobody = await made(http, f"http://127.0.0.1:{free_port()}/")
    sent = (await http.post(f"/webhooks/{nobody['id']}/test?wait=20")).json()
    assert sent["last_try"]["status"] is None
    assert "ConnectError" in sent["last_try"]["error"]


async def test_without_wait_a_test_is_answered_at_once(http: httpx2.AsyncClient) -> None:
    release = asyncio.Event()

    async def slow(writer: asyncio.StreamWriter) -> None:
        await release.wait()
        await OK(writer)

    async with serving(None, slow) as receiver:
        hook = await made(http, receiver.url)
        sent = (await http.post(f"/webhooks/{hook['id']}/test")).json()
        assert sent["status"] in ("waiting", "sending")
        await receiver.got(1)
        late = (await http.post(f"/webhooks/{hook['id']}/test?wait=0.01")).json()
        assert late["status"] in ("waiting", "sending")
        release.set()
        await ended(http, hook["id"], "done", 2)


async def test_a_rotated_webhook_is_signed_with_both_secrets(http: httpx2.AsyncClient) -> None:
    async with serving(None, OK) as receiver:
        hook = await made(http, receiver.url)
        rotated = (await http.post(f"/webhooks/{hook['id']}/rotate")).json()
        assert (rotated["generation"], [o["generation"] for o in rotated["older"]]) == (2, [1])
        assert rotated["secret"] != hook["secret"]
        await http.post(f"/webhooks/{hook['id']}/test?wait=20")
        last = (await http.post(f"/webhooks/{hook['id']}/rotate", json={"overlap": 0})).json()
        await http.post(f"/webhooks/{hook['id']}/test?wait=20")
    both, one = receiver.requests
    assert len(both.headers["webhook-signature"].split()) == 2
    assert len(one.headers["webhook-signature"].split()) == 1
    for secret in (hook["secret"], rotated["secret"]):
        assert Verifier(secret).verify(both.body, both.headers)
        with pytest.raises(WebhookVerificationError):
            Verifier(secret).verify(one.body, one.headers)
    assert Verifier(last["secret"]).verify(one.body, one.headers)
    with pytest.raises(WebhookVerificationError):
        Verifier(last["secret"]).verify(both.body, both.headers)


async def test_what_is_changed_holds_for_the_next_event(http: httpx2.AsyncClient) -> None:
    async with serving(None, OK) as old, serving(None, OK) as new:
        hook = await made(http, old.url, description="old")
        change = {"url": new.url, "types": ["job.failed", "job.completed"], "description": None}
        changed = (await http.patch(f"/webhooks/{hook['id']}", json=change)).json()
        assert changed == {**hook, **change, "types": ["job.completed", "job.failed"]}
        await completed(http)
        await new.got(1)
        same = (await http.patch(f"/webhooks/{hook['id']}", json={})).json()
        assert same == changed
        only = {"types": ["job.failed"]}
        await http.patch(f"/webhooks/{hook['id']}", json=only)
        await completed(http)
        again = (await http.patch(f"/webhooks/{hook['id']}", json={"types": None})).json()
        assert again["types"] == hook["types"]
        last = await completed(http)
        await new.got(2)
    bodies = [Verifier(hook["secret"]).verify(r.body, r.headers) for r in new.requests]
    assert bodies[1]["data"]["id"] == last
    assert old.requests == []


async def test_a_disabled_webhook_says_why_and_what_it_missed_can_be_sent(
    http: httpx2.AsyncClient,
) -> None:
    """From the endpoint's 410 to its operator's two calls: enable, replay."""
    async with mendable() as (receiver, mended):
        hook = await made(http, receiver.url)
        job_id = await completed(http)
        (dead,) = await ended(http, hook["id"], "dead", 1)
        assert (dead["job_id"], dead["last_try"]["response"]) == (job_id, "moved away")
        shown = (await http.get(f"/webhooks/{hook['id']}")).json()
        assert "410" in shown["disabled"]["reason"]
        for path in (f"/webhooks/{hook['id']}/test", f"/deliveries/{dead['id']}/replay"):
            refused = await http.post(path)
            assert refused.status_code == 409
            assert '{"enabled": true}' in refused.json()["detail"]
        mended.set()
        enabled = (await http.patch(f"/webhooks/{hook['id']}", json={"enabled": True})).json()
        assert (enabled["disabled"], enabled["failing_since"]) == (None, None)
        replay = await http.post(f"/webhooks/{hook['id']}/replay", json={"since": dead["time"]})
        assert (replay.status_code, replay.json()) == (202, {"replayed": 1, "more": False})
        await ended(http, hook["id"], "done", 1)
        whole = (await http.get(f"/deliveries/{dead['id']}")).json()
        assert [one["status"] for one in whole["history"]] == [410, 200]
        assert (whole["url"], whole["replays"], whole["why"]) == (receiver.url, 1, None)
        once_more = await http.post(f"/deliveries/{dead['id']}/replay?wait=20")
        assert (once_more.json()["status"], once_more.json()["replays"]) == ("done", 2)
    assert set(receiver.ids) == {dead["id"]}
    assert len({request.body for request in receiver.requests}) == 1


async def test_stopped_by_hand_it_is_sent_nothing_until_started(http: httpx2.AsyncClient) -> None:
    async with serving(None, OK) as receiver:
        hook = await made(http, receiver.url)
        stopped = (await http.patch(f"/webhooks/{hook['id']}", json={"enabled": False})).json()
        assert stopped["disabled"]["reason"] == "test disabled it"
        listed = (await http.get("/webhooks")).json()["webhooks"]
        assert [one["disabled"] for one in listed] == [stopped["disabled"]]
        await completed(http)
        await http.patch(f"/webhooks/{hook['id']}", json={"enabled": True})
        job_id = await completed(http)
        await receiver.got(1)
        assert [one["job_id"] for one in await deliveries(http, hook["id"])] == [job_id]


async def test_a_job_says_whom_it_was_told_to(http: httpx2.AsyncClient) -> None:
    async with serving(None, OK) as own, serving(None, OK) as every, serving(None, OK) as once:
        hooks = [await made(http, own.url, session_id="s1"), await made(http, every.url)]
        await completed(http)
        job_id = await completed(http, webhook_url=once.url)
        for receiver in (own, every):
            await receiver.got(2)
        await once.got(1)
        told = (await http.get(f"/jobs/{job_id}/deliveries")).json()["deliveries"]
        one_off = next(one for one in told if one["webhook_id"].startswith("once_"))
        assert {one["webhook_id"] for one in told} == {hook["id"] for hook in hooks} | {
            one_off["webhook_id"]
        }
        assert {(one["job_id"], one["type"]) for one in told} == {(job_id, "job.completed")}
        assert (await http.get(f"/deliveries/{one_off['id']}")).json()["url"] == once.url
        (listed,) = await deliveries(http, one_off["webhook_id"], job_id=job_id)
        assert listed["id"] == one_off["id"]
        reply = await http.post(f"/deliveries/{one_off['id']}/replay?wait=20")
        assert reply.json()["status"] == "done"
    secret = (await http.get("/webhooks/secret")).json()["secret"]
    for request in once.requests:
        assert Verifier(secret).verify(request.body, request.headers)


WRONG: list[tuple[str, str, Any, str, str]] = [
    ("PATCH", "", {"url": "ftp://example.com/"}, "/url", "https://"),
    ("PATCH", "", {"url": None}, "/url", "expected `str`"),
    ("PATCH", "", {"types": ["job.done"]}, "/types/0", "job.completed"),
    ("PATCH", "", {"enabled": "yes"}, "/enabled", "bool"),
    ("PATCH", "", {"session_id": "s2"}, "/session_id", "url"),
    ("POST", "/rotate", {"overlap": -1}, "/overlap", ">= 0"),
    ("POST", "/rotate", {"overlap": 700_000}, "/overlap", "604800"),
    ("POST", "/test", {"type": "job.done"}, "/type", "job.completed"),
    ("POST", "/test?wait=31", {}, "/wait", "30"),
    ("POST", "/replay", {}, "/since", "required"),
    ("POST", "/replay", {"since": "yesterday"}, "/since", "RFC3339"),
    ("POST", "/replay", {"since": "2026-01-01T00:00:00"}, "/since", "timezone"),
    (
        "POST",
        "/replay",
        {"since": "2026-01-02T00:00:00Z", "until": "2026-01-01T00:00:00Z"},
        "/until",
        "before since",
    ),
    ("GET", "/deliveries?status=lost", None, "/status", "dead"),
    ("GET", "/deliveries?job_id=x", None, "/job_id", "UUID"),
    ("GET", "/deliveries?cursor=x", None, "/cursor", "`more`"),
]


async def test_what_does_not_fit_is_told_by_field(http: httpx2.AsyncClient) -> None:
    hook = await made(http, f"http://127.0.0.1:{free_port()}/")
    for method, path, body, pointer, words in WRONG:
        reply = await http.request(method, f"/webhooks/{hook['id']}{path}", json=body)
        assert reply.status_code == 422, (path, body, reply.text)
        assert reply.headers["content-type"] == "application/problem+json"
        (error,) = reply.json()["errors"]
        assert error["pointer"] == pointer
        assert words in error["detail"]


async def test_who_may_not_see_a_webhook_may_not_see_its_deliveries(
    http: httpx2.AsyncClient,
) -> None:
    async with serving(None, OK) as receiver:
        every = await made(http, receiver.url)
        own = await made(http, receiver.url, session_id="s1")
        job_id = await completed(http, webhook_url=receiver.url)
        await receiver.got(3)
    told = (await http.get(f"/jobs/{job_id}/deliveries")).json()["deliveries"]
    by_hook = {one["webhook_id"]: one["id"] for one in told}
    of_every, of_own = by_hook.pop(every["id"]), by_hook.pop(own["id"])
    ((once, of_once),) = by_hook.items()
    grant = {"sub": "ada", "sessions": ["s1"], "scope": "admin read"}
    admin = (await http.post("/tokens", json=grant)).json()["token"]
    plain = (await http.post("/tokens", json={**grant, "scope": "read"})).json()["token"]

    async def status(token: str, method: str, path: str) -> int:
        headers = {"Authorization": f"Bearer {token}"}
        body = {"since": "2026-01-01T00:00:00Z"} if path.endswith("}/replay") else None
        reply = await http.request(method, path, headers=headers, json=body)
        return reply.status_code

    unseen = [
        ("PATCH", f"/webhooks/{every['id']}"),
        ("POST", f"/webhooks/{every['id']}/rotate"),
        ("POST", f"/webhooks/{every['id']}/test"),
        ("GET", f"/webhooks/{every['id']}/deliveries"),
        ("GET", f"/webhooks/{once}/deliveries"),
        ("GET", f"/deliveries/{of_every}"),
        ("GET", f"/deliveries/{of_once}"),
        ("POST", f"/deliveries/{of_every}/replay"),
        ("GET", f"/deliveries/msg_{'0' * 40}"),
        ("GET", "/deliveries/msg_x"),
        ("GET", f"/jobs/{'0' * 8}-0000-7000-8000-{'0' * 12}/deliveries"),
    ]
    # PATCH needs a body to be looked at at all.
    for method, path in unseen[1:]:
        assert await status(admin, method, path) == 404, path
        assert await status("nobody", method, path) == 401, path
    seen = [("GET", f"/deliveries/{of_own}"), ("GET", f"/webhooks/{own['id']}/deliveries")]
    for method, path in [*unseen[1:7], *seen]:
        assert await status(plain, method, path) == 403, path
    for method, path in seen:
        assert await status(admin, method, path) == 200, path
    headers = {"Authorization": f"Bearer {admin}"}
    told = (await http.get(f"/jobs/{job_id}/deliveries", headers=headers)).json()["deliveries"]
    assert [one["id"] for one in told] == [of_own]
    other = {"Authorization": "Bearer other-key-0123456789abcdef"}
    rotated = await http.post(f"/webhooks/{own['id']}/rotate", headers=other)
    assert (rotated.status_code, rotated.json()["secret"]) == (200, None), "an owner's secret"
    assert API_KEY not in rotated.text
