"""Every client's calls about webhooks, and lists of jobs, against a real hub and endpoint."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hub.client import Client, Jobs, SyncClient, wanted
from hub.errors import BadInput, Conflict, NotFound
from hub.requests import ForeignCompleted
from hub.settings import Settings
from hub.transitions import Transitions
from tests.announced import TASKS
from tests.conftest import API_KEY, wait_until
from tests.integration.webhooks.steps import OK
from tests.receiver import answer, serving
from tests.running_hub import Hub


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(settings, webhook_allow_http=True, webhook_allow_nets="127.0.0.1")


class InThread:
    """A blocking client whose methods are awaited."""

    def __init__(self, client: SyncClient) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._client, name)
        return lambda *args, **kwargs: asyncio.to_thread(method, *args, **kwargs)


@pytest.fixture(params=["async", "sync", "direct"])
async def client(request: pytest.FixtureRequest, hub: Hub) -> AsyncIterator[Any]:
    if request.param == "async":
        async with Client(hub.url, API_KEY) as client:
            yield client
    elif request.param == "sync":
        with SyncClient(hub.url, API_KEY) as blocking:
            yield InThread(blocking)
    else:
        async with Jobs(hub.settings, name="test") as jobs:
            yield jobs


async def test_webhooks_are_operated(client: Any) -> None:
    async with serving(None, OK) as receiver:
        hook = await client.create_webhook(receiver.url, session_id="s1", description="mine")
        assert hook.secret is not None
        changed = await client.edit_webhook(hook.id, types=["job.failed"], description=None)
        assert (changed.types, changed.description, changed.url) == (
            ["job.failed"],
            None,
            receiver.url,
        )
        assert (await client.edit_webhook(hook.id, types=None)).types == hook.types
        rotated = await client.rotate_webhook(hook.id, overlap=60)
        assert (rotated.generation, [one.generation for one in rotated.older]) == (2, [1])
        assert rotated.secret not in (None, hook.secret)
        sent = await client.test_webhook(hook.id)
        assert (sent.status, sent.last_try.status, sent.test) == ("done", 200, True)
        assert sent.body["data"]["metadata"] == {"test": True}
        example = await client.test_webhook(hook.id, type="job.failed")
        assert example.body["data"]["error"]["code"] == "error"
        again = await client.replay_delivery(sent.id, wait=20)
        assert (again.status, again.replays, len(again.history)) == ("done", 1, 2)
        assert await client.delivery(sent.id) == again
        page = await client.deliveries(hook.id, status="done")
        assert {one.id for one in page.deliveries} == {sent.id, example.id}
        assert len(receiver.requests) == 3
    assert (await client.webhook(hook.id)).secret == rotated.secret
    assert (await client.webhook_secret()).startswith("whsec_")
    await client.delete_webhook(hook.id)
    assert (await client.webhooks(session_id="s1")).webhooks == []
    for gone in (client.webhook(hook.id), client.delivery(sent.id), client.deliveries(hook.id)):
        with pytest.raises(NotFound):
            await gone


async def test_what_is_dead_is_sent_again(hub: Hub, client: Any) -> None:
    answers = [answer("410 Gone"), OK]

    async def reply(writer: asyncio.StreamWriter) -> None:
        await answers.pop(0)(writer)

    async with serving(None, reply) as receiver, Client(hub.url, API_KEY) as other:
        hook = await client.create_webhook(receiver.url)
        theirs = await other.enqueue("theirs", session_id="s1", queue=None)
        assert theirs.token is not None
        await other.tell(theirs.job_id, theirs.token, [ForeignCompleted()])
        await receiver.got(1)
        found = await client.job_deliveries(theirs.job_id)
        (one,) = found.deliveries

        async def disabled() -> bool:
            return (await client.webhook(hook.id)).disabled is not None

        await wait_until(disabled, "the webhook is disabled")
        with pytest.raises(Conflict, match="410 Gone"):
            await client.replay_delivery(one.id)
        await client.create_webhook("https://example.com/", session_id="s1")
        assert [w.id for w in (await client.webhooks(disabled=True)).webhooks] == [hook.id]
        assert hook.id not in [w.id for w in (await client.webhooks(disabled=False)).webhooks]
        assert len((await client.webhooks()).webhooks) == 2
        await client.edit_webhook(hook.id, enabled=True)
        since = datetime.now(UTC) - timedelta(hours=1)
        assert (await client.replay_deliveries(hook.id, since=since)).replayed == 1
        await receiver.got(2)
        later = datetime.now(UTC)
        assert (await client.replay_deliveries(hook.id, since=later)).replayed == 0
    for wrong in (
        client.edit_webhook(hook.id, url="ftp://x"),
        client.rotate_webhook(hook.id, overlap=-1),
        client.test_webhook(hook.id, type="nothing"),
        client.deliveries(hook.id, status="lost"),
        client.create_webhook("https://10.0.0.1/"),
        client.replay_deliveries(hook.id, since=later, until=later - timedelta(seconds=1)),
    ):
        with pytest.raises(BadInput):
            await wrong


async def test_a_list_of_jobs_is_queued_at_once(client: Any, transitions: Transitions) -> None:
    await transitions.announce(TASKS)
    jobs = [
        wanted("echo", {"text": "one"}, session_id="s1"),
        wanted("echo", {"txt": "two"}, session_id="s1"),
        wanted("theirs", session_id="s2", queue=None),
        wanted("echo", {"text": "4"}, session_id="s1", priority=11),
    ]
    first, second, third, fourth = await client.enqueue_many(jobs)
    assert (first.status, first.job.params) == (202, {"text": "one"})
    assert (second.status, second.problem.errors[0].pointer) == (422, "/params/txt")
    assert (third.status, bool(third.token)) == (202, True)
    assert (fourth.status, fourth.problem.errors[0].pointer) == (422, "/priority")
    once = await client.enqueue_many(jobs[:1], idempotency_key="k")
    again = await client.enqueue_many(jobs[:1], idempotency_key="k")
    assert (once[0].status, again[0].status) == (202, 200)
    assert once[0].job_id == again[0].job_id != first.job_id
