"""The Python clients against a real hub."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from types import SimpleNamespace
from typing import Any

import pytest

from hub.client import (
    Client,
    Hello,
    JobEvent,
    Jobs,
    LogEvent,
    MessageEvent,
    NotInTime,
    ProgressEvent,
    SessionDeleted,
    SyncClient,
    Unreachable,
    View,
)
from hub.errors import BadInput, Conflict, NotFound, Refused, Unauthenticated
from hub.requests import ForeignCompleted, ForeignLog, ForeignProgress, LogText
from hub.transitions import Transitions
from tests.announced import TASKS, Hand
from tests.conftest import API_KEY, free_port
from tests.proxy import Proxy
from tests.running_hub import Hub


@pytest.fixture
async def hand(hub: Hub, transitions: Transitions) -> Hand:
    await transitions.announce(TASKS)
    return Hand(transitions)


@pytest.fixture
async def client(hub: Hub) -> AsyncIterator[Client]:
    async with Client(hub.url, API_KEY) as client:
        yield client


async def queue(client: Client, text: str = "hi", **more: Any) -> str:
    queued = await client.enqueue("echo", {"text": text}, session_id="s1", **more)
    return queued.job_id


async def test_a_jobs_life(client: Client, hand: Hand) -> None:
    queued = await client.enqueue(
        "echo", {"text": "hi"}, session_id="s1", title="Echo", metadata={"by": ["me"]}
    )
    assert (queued.status, queued.job.params, queued.job.metadata) == (
        "pending",
        {"text": "hi"},
        {"by": ["me"]},
    )
    waiting = asyncio.create_task(client.wait(queued.job_id, timeout=20))
    await hand.finish(b'{"said":"hi"}')
    done = await waiting
    assert (done.status, done.result) == ("completed", {"said": "hi"})
    assert (await client.job(queued.job_id)) == done
    page = await client.jobs(session_id="s1", status=["completed"])
    assert [job.id for job in page.jobs] == [queued.job_id]
    again = await client.retry(queued.job_id)
    assert again.job.retry_of == queued.job_id
    assert (await client.cancel(again.job_id)).status == "cancelled"
    with pytest.raises(Conflict):
        await client.cancel(queued.job_id)
    assert {job.id for job in (await client.session("s1")).jobs} == {again.job_id, queued.job_id}


async def test_the_rest_of_the_api(client: Client, hand: Hand) -> None:
    assert {task.name for task in await client.tasks()} == {"echo", "deploy"}
    asked = await client.enqueue("deploy", session_id="s1")
    job = await client.wait(asked.job_id)
    assert job.input is not None
    assert (job.status, job.input.kind) == ("input_required", "confirm")
    assert (await client.answer(job.id, job.input.id, "yes")).status == "pending"
    said = await client.say("s1", "hello")
    assert [m.message_id for m in (await client.messages("s1")).messages] == [said.message_id]
    token = await client.new_token(sub="ada", sessions=["s1"], scope="read")
    assert (token.sub, token.sessions) == ("ada", ["s1"])
    assert (await client.pause("default")).paused
    assert [q.paused for q in (await client.queues()).queues if q.queue == "default"] == [True]
    await client.resume("default")
    assert (await client.workers()).workers == []
    assert [s.session_id for s in (await client.sessions()).sessions] == ["s1"]
    hook = await client.create_webhook("https://example.com/hook", types=["job.completed"])
    assert hook.secret is not None
    assert [w.id for w in (await client.webhooks()).webhooks] == [hook.id]
    assert (await client.webhook(hook.id)).secret == hook.secret
    await client.delete_webhook(hook.id)
    assert (await client.webhooks()).webhooks == []
    assert (await client.webhook_secret()).startswith("whsec_")
    assert (await client.get("/tools?format=mcp"))["tools"]
    await client.delete_session("s1")
    with pytest.raises(NotFound):
        await client.job(asked.job_id)


async def test_a_job_of_somebody_elses_queue(client: Client) -> None:
    queued = await client.enqueue("theirs", session_id="s1", queue=None)
    assert queued.token is not None
    told = await client.tell(
        queued.job_id,
        queued.token,
        [
            ForeignProgress(percent=50),
            ForeignLog(lines=[LogText(text="one"), LogText(text="two", stream="stderr")]),
        ],
    )
    assert told.status == "running"
    lines = (await client.logs(queued.job_id)).lines
    assert [(line.line, line.stream, line.text) for line in lines] == [
        (1, "stdout", "one"),
        (2, "stderr", "two"),
    ]
    done = await client.tell(queued.job_id, queued.token, [ForeignCompleted()])
    assert done.status == "completed"


async def test_errors_are_told_apart(hub: Hub, client: Client, hand: Hand) -> None:
    with pytest.raises(BadInput) as wrong:
        await client.enqueue("echo", {"text": 7}, session_id="s1", priority=20)
    assert {pointer for pointer, _ in wrong.value.errors} == {"/priority"}
    with pytest.raises(BadInput, match="announced are: deploy, echo"):
        await client.enqueue("nothing", session_id="s1")
    with pytest.raises(NotFound):
        await client.job("01991f7c-2b6a-7c3d-8e4f-0123456789ab")
    job_id = await queue(client)
    with pytest.raises(NotInTime):
        await client.wait(job_id, timeout=0.01)
    async with Client(hub.url, hub.token("s2", scope="read")) as other:
        with pytest.raises(NotFound):
            await other.job(job_id)
        with pytest.raises(Refused):
            await other.jobs(session_id="s1")
    async with Client(hub.url, "nonsense") as nobody:
        with pytest.raises(Unauthenticated):
            await nobody.tasks()
    async with Client(f"http://127.0.0.1:{free_port()}", API_KEY, tries=2) as gone:
        with pytest.raises(Unreachable, match="No answer from"):
            await gone.tasks()


async def test_a_subscription_tells_all_of_a_jobs_life(client: Client, hand: Hand) -> None:
    view = View()
    seen: list[str] = []
    async with aclosing(client.subscribe("s1")) as events:
        hello = await anext(events)
        assert isinstance(hello, Hello)
        assert not hello.resumed
        queued = await client.enqueue("theirs", session_id="s1", queue=None)
        await client.tell(queued.job_id, queued.token or "", [ForeignProgress(percent=50)])
        await client.tell(
            queued.job_id, queued.token or "", [ForeignLog(lines=[LogText(text="one")])]
        )
        await client.say("s1", "well?")
        await client.tell(queued.job_id, queued.token or "", [ForeignCompleted()])
        async for event in events:
            view.take(event)
            seen.append(type(event).__name__)
            if isinstance(event, JobEvent) and event.status == "completed":
                break
    assert view.jobs[queued.job_id] == await client.job(queued.job_id)
    assert list(view.tails[queued.job_id]) == ["one"]
    assert [message.text for message in view.messages.values()] == ["well?"]
    assert seen.count(JobEvent.__name__) == 2
    assert {ProgressEvent.__name__, LogEvent.__name__, MessageEvent.__name__} <= set(seen)


async def test_a_subscription_goes_on_over_cuts(hub: Hub, client: Client, hand: Hand) -> None:
    port = int(hub.url.rpartition(":")[2])
    texts: list[str] = []
    losses: list[str] = []
    async with (
        Proxy("127.0.0.1", port) as proxy,
        Client(f"http://127.0.0.1:{proxy.port}", API_KEY) as cut,
        aclosing(cut.subscribe("s1", on_lost=lambda lost: losses.append(lost.reason))) as them,
    ):
        assert isinstance(await anext(them), Hello)
        for number in range(4):
            await client.say("s1", f"message {number}")
            if number % 2 == 0:
                proxy.cut()
        hellos = 0
        async for event in them:
            if isinstance(event, Hello):
                assert event.resumed
                hellos += 1
            elif isinstance(event, MessageEvent):
                texts.append(event.message.text)
                if event.message.text == "message 3":
                    break
    assert texts == [f"message {number}" for number in range(4)]
    assert hellos >= 1
    assert losses


async def test_it_resumes_where_another_left_off(client: Client) -> None:
    await client.say("s1", "one")
    async with aclosing(client.subscribe("s1")) as events:
        hello = await anext(events)
        assert isinstance(hello, Hello)
    await client.say("s1", "two")
    async with aclosing(client.subscribe("s1", after=hello.cursor)) as events:
        again = await anext(events)
        assert isinstance(again, Hello)
        assert again.resumed
        said = await anext(events)
        assert isinstance(said, MessageEvent)
        assert said.message.text == "two"
    async with aclosing(client.subscribe("s1", after="1-1")) as events:
        snapshot = await anext(events)
        assert isinstance(snapshot, Hello)
        assert not snapshot.resumed
        assert [message.text for message in snapshot.messages] == ["one", "two"]


async def test_tokens_are_renewed_through_a_callback(
    hub: Hub, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    async def renew() -> str:
        asked.append("")
        return hub.token("s1", ttl=7_200)

    async with Client(hub.url, "worn out", renew=renew) as renewing:
        await asyncio.gather(renewing.tasks(), renewing.session("s1"))
        assert len(asked) == 1
    brief = hub.token("s1", ttl=600)
    async with (
        Client(hub.url, brief, renew=renew) as renewing,
        aclosing(renewing.subscribe("s1")) as events,
    ):
        assert isinstance(await anext(events), Hello)
        an_hour_later = SimpleNamespace(time=lambda: time.time() + 3_600)
        monkeypatch.setattr("hub.streams.time", an_hour_later)
        again = await anext(events)
        assert isinstance(again, Hello)
        assert again.resumed
        assert len(asked) == 2


async def test_what_ends_a_subscription(hub: Hub, client: Client) -> None:
    async def first(token: str, session_id: str = "s1") -> None:
        async with Client(hub.url, token) as other, aclosing(other.subscribe(session_id)) as events:
            await anext(events)

    with pytest.raises(Unauthenticated):
        await first("nonsense")
    with pytest.raises(Refused):
        await first(hub.token("s2"))
    with pytest.raises(BadInput):
        await first(API_KEY, "no session!")
    async with Client(f"{hub.url}/below", API_KEY) as lost:
        with pytest.raises(Refused, match="no hub at this address"):
            await anext(lost.subscribe("s1"))
        with pytest.raises(NotFound):
            await lost.tasks()
    await client.say("s1", "hi")
    async with aclosing(client.subscribe("s1")) as events:
        await anext(events)
        await client.delete_session("s1")
        with pytest.raises(SessionDeleted):
            await anext(events)


async def test_a_log_is_followed(client: Client) -> None:
    queued = await client.enqueue("theirs", session_id="s1", queue=None)
    token = queued.token or ""

    async def lines(*texts: str) -> None:
        log = ForeignLog(lines=[LogText(text=text) for text in texts])
        await client.tell(queued.job_id, token, [log])

    await lines("a", "b")
    told: list[tuple[int, str]] = []
    async with aclosing(client.follow_log(queued.job_id)) as following:
        async for line in following:
            told.append((line.line, line.text))
            if line.text == "b":
                await lines("c")
            elif line.text == "c":
                await client.tell(
                    queued.job_id,
                    token,
                    [ForeignLog(lines=[LogText(text="d")]), ForeignCompleted()],
                )
    assert told == [(1, "a"), (2, "b"), (3, "c"), (4, "d")]
    over = [line.text async for line in client.follow_log(queued.job_id, after=2)]
    assert over == ["c", "d"]


async def test_the_blocking_twin(hub: Hub, client: Client, hand: Hand) -> None:
    job_id = await queue(client)

    def look() -> list[str]:
        told: list[str] = []
        with SyncClient(hub.url, API_KEY) as blocking:
            told.append(blocking.job(job_id).status)
            for event in blocking.subscribe("s1"):
                if isinstance(event, Hello):
                    told.append(f"hello {len(event.jobs)}")
                    blocking.cancel(job_id)
                elif isinstance(event, JobEvent):
                    told.append(event.type)
                    break
            told.append(blocking.wait(job_id).status)
            told += [line.text for line in blocking.follow_log(job_id)]
            with pytest.raises(NotFound):
                blocking.job("01991f7c-2b6a-7c3d-8e4f-0123456789ab")
        with (
            SyncClient(hub.url, "worn out", renew=lambda: hub.token("s1")) as renewing,
        ):
            hello = next(renewing.subscribe("s1"))
            told.append(type(hello).__name__)
        with (
            pytest.raises(Unreachable),
            SyncClient(f"http://127.0.0.1:{free_port()}", tries=2) as gone,
        ):
            gone.tasks()
        return told

    assert await asyncio.to_thread(look) == [
        "pending",
        "hello 1",
        "job.cancelled",
        "cancelled",
        "Hello",
    ]


async def test_jobs_beside_redis(hub: Hub, client: Client, hand: Hand) -> None:
    async with Jobs(hub.settings) as jobs:
        queued = await jobs.enqueue("echo", {"text": "hi"}, session_id="s1", idempotency_key="k")
        assert (
            await jobs.enqueue("echo", {"text": "hi"}, session_id="s1", idempotency_key="k")
        ).job_id == queued.job_id
        assert await jobs.job(queued.job_id) == await client.job(queued.job_id)
        assert await jobs.jobs(session_id="s1") == await client.jobs(session_id="s1")
        assert await jobs.session("s1") == await client.session("s1")
        assert await jobs.tasks() == await client.tasks()
        waiting = asyncio.create_task(jobs.wait(queued.job_id, timeout=20))
        await hand.finish(b"[1]")
        assert (await waiting).result == [1]
        assert (await jobs.logs(queued.job_id)).lines == []
        again = await jobs.retry(queued.job_id)
        with pytest.raises(NotInTime):
            await jobs.wait(again.job_id, timeout=0.05)
        assert (await jobs.cancel(again.job_id)).status == "cancelled"
        asked = await jobs.enqueue("deploy", session_id="s1")
        found = await jobs.wait(asked.job_id)
        assert found.input is not None
        assert (await jobs.answer(found.id, found.input.id, "no")).status == "cancelled"
        with pytest.raises(BadInput) as wrong:
            await jobs.enqueue("echo", {"text": 7}, session_id="no session!")
        assert [pointer for pointer, _ in wrong.value.errors] == ["/session_id"]
        with pytest.raises(NotFound):
            await jobs.job("nothing")
