"""What every script tells: exact bytes, one event per change, nothing secret or too large."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import pytest

from hub import keys
from tests.integration.store.conftest import Driver
from tests.integration.store.publications import ERROR, published


async def test_the_stream_holds_the_bytes_that_were_published(driver: Driver) -> None:
    async def life() -> None:
        await driver.reach("completed")

    seen = await published(driver.redis, "s1", life)
    history = await driver.store.history("s1", b"0-0")
    assert seen == history.entries
    assert [e.prev for e in seen[1:]] == [e.cursor for e in seen[:-1]]
    for entry in seen:
        event = json.loads(entry.body)
        assert event["id"].encode() == entry.cursor
        assert (event["rev"], event["job_id"].encode()) == (entry.rev, entry.key)


async def test_every_lifecycle_event_carries_progress_and_log_lines(driver: Driver) -> None:
    job_id = await driver.reach("running")
    token = driver.tokens[job_id]
    await driver.do.progress(job_id, token, b'{"current":23,"total":47}')
    await driver.do.log(job_id, token, 1, [b'{"stream":"stdout","text":"a"}'] * 3)
    await driver.do.finish(job_id, token, "completed", b"null")
    for entry in (await driver.store.history("s1", b"0-0")).entries:
        assert {"progress", "log_lines", "status", "updated_at"} <= set(
            json.loads(entry.body)["data"]
        )
    last = json.loads((await driver.store.history("s1", b"0-0")).entries[-1].body)
    assert last["data"]["progress"] == {"current": 23, "total": 47}
    assert last["data"]["log_lines"] == 3


async def test_rev_1_is_the_whole_job_and_replaying_events_gives_the_job(driver: Driver) -> None:
    job_id = await driver.queue(max_attempts=2, title='a "title"', metadata=b'{"a":[]}')
    [claim] = await driver.claim()
    await driver.do.retry(job_id, claim.token, 0.0, ERROR, b'"trace"')
    await driver.act("claim", job_id)
    await driver.do.finish(job_id, driver.tokens[job_id], "completed", b'{"n":[]}')
    job: dict[str, Any] = {}
    for entry in (await driver.store.history("s1", b"0-0")).entries:
        event = json.loads(entry.body)
        job.update(event["data"], rev=event["rev"])
    shown = json.loads(msgspec.json.encode(await driver.job(job_id)))
    hidden = {"webhook_url", "params_truncated", "result_truncated", "metadata_truncated"}
    assert job == {name: value for name, value in shown.items() if name not in hidden}


@pytest.mark.parametrize(
    "raw", [b"[]", b"{}", b'{"a":[],"b":{}}', b"12345678901234567890", b"1e400"]
)
async def test_json_passes_through_untouched(driver: Driver, raw: bytes) -> None:
    job_id = await driver.reach("running")
    await driver.do.finish(job_id, driver.tokens[job_id], "completed", raw)
    last = (await driver.store.history("s1", b"0-0")).entries[-1]
    assert re.search(b'"result":' + re.escape(raw) + b"[,}]", last.body)
    result = (await driver.job(job_id)).result
    assert result is not None
    assert bytes(result) == raw


async def test_large_parts_are_null_in_events_and_whole_in_the_job(driver: Driver) -> None:
    big = b'"' + b"x" * 16_384 + b'"'
    job_id = await driver.queue(params=b'{"a":' + big + b"}")
    [claim] = await driver.claim()
    await driver.do.finish(job_id, claim.token, "completed", big)
    entries = (await driver.store.history("s1", b"0-0")).entries
    assert b'"params":null,"params_truncated":true' in entries[0].body
    assert b'"result":null,"result_truncated":true' in entries[-1].body
    result = (await driver.job(job_id)).result
    assert result is not None
    assert bytes(result) == big


async def test_webhook_url_and_traceback_are_never_in_events(driver: Driver) -> None:
    job_id = await driver.queue(webhook_url="https://secret.example/hook", credential="ci")
    [claim] = await driver.claim()
    await driver.do.finish(job_id, claim.token, "failed", ERROR, b'"secret trace"')
    for entry in (await driver.store.history("s1", b"0-0")).entries:
        assert b"secret" not in entry.body
    outbox = [fields for _, fields in await driver.redis.xrange(keys.OUTBOX)]
    assert [entry[b"w"] for entry in outbox] == [b'"https://secret.example/hook"']
    assert all(b"secret" not in entry[b"d"] for entry in outbox)
    job = await driver.job(job_id)
    assert job.error is not None
    assert (job.webhook_url, job.error.traceback) == ("https://secret.example/hook", "secret trace")


async def test_progress_and_logs(driver: Driver) -> None:
    job_id = await driver.reach("running")
    token = driver.tokens[job_id]

    async def act() -> None:
        await driver.do.progress(job_id, token, b'{"percent":5}')
        await driver.do.log(job_id, token, 1, [b'{"text":"1"}', b'{"text":"2"}'])
        # A repeat after a lost reply, with one line more.
        await driver.do.log(job_id, token, 2, [b'{"text":"2"}', b'{"text":"3"}'])
        await driver.do.log(job_id, token, 1, [b'{"text":"1"}'])

    seen = await published(driver.redis, "s1", act)
    assert [(p.kind, p.rev, p.first, p.last) for p in seen] == [
        ("P", 3, 0, 0),
        ("G", 0, 1, 2),
        ("G", 0, 3, 3),
    ]
    assert json.loads(seen[1].body)["line"] == 1
    page = await driver.store.logs(job_id)
    assert [(line.line, line.text) for line in page.lines] == [(1, "1"), (2, "2"), (3, "3")]
    assert [line.line for line in (await driver.store.logs(job_id, after=1, limit=1)).lines] == [2]
    assert (await driver.store.logs(job_id, after=1, limit=1)).more


async def test_messages_are_said_once(driver: Driver) -> None:
    assert await driver.store.say("s1", "user", "m1", 'hi "you"', turn=True)
    assert not await driver.store.say("s1", "user", "m1", "hi again", turn=True)
    [message] = await driver.store.messages("s1")
    assert (message.role, message.text, message.message_id) == ("user", 'hi "you"', "m1")
    [entry] = (await driver.store.history("s1", b"0-0")).entries
    assert json.loads(entry.body)["data"] == {
        "message_id": "m1",
        "role": "user",
        "text": 'hi "you"',
    }
    assert message.cursor is not None
    assert await driver.store.message("s1", message.cursor) == message


async def test_the_agents_jobs_are_seen_nowhere_and_its_failure_is_told(driver: Driver) -> None:
    await driver.store.say("s1", "user", "m1", "hi", turn=True)
    assert (await driver.store.jobs(session_id="s1")).jobs == []
    assert (await driver.store.jobs()).jobs == []
    [turn] = await driver.do.claim(
        "w1", "r", queues=["agent"], tasks=["agent.turn"], lease=15, limit=1
    )
    assert json.loads(turn.params)["message_id"] == "m1"
    assert await driver.types() == ["message.user"]
    await driver.do.finish(turn.job_id, turn.token, "failed", ERROR)
    assert await driver.types() == ["message.user", "message.agent"]
    assert (await driver.store.messages("s1"))[-1].message_id == "re.m1"


async def test_the_end_of_an_agents_job_gives_the_agent_a_turn(driver: Driver) -> None:
    job_id = await driver.queue(origin="agent")
    [claim] = await driver.claim()
    await driver.do.finish(job_id, claim.token, "completed", b"1")
    [turn] = await driver.do.claim(
        "w1", "r", queues=["agent"], tasks=["agent.turn"], lease=15, limit=5
    )
    assert json.loads(turn.params) == {"about_job": job_id}
    assert turn.job_id[15:18] == job_id[15:18]


async def test_the_outbox_gets_what_a_webhook_wants(driver: Driver) -> None:
    await driver.redis.hset(keys.HOOKED, "s1", ",job.running,")
    await driver.redis.hset(keys.HOOKED, "*", ",job.failed,")
    await driver.reach("completed")
    await driver.do.cancel(await driver.queue("s2", webhook_url="https://x.example/"))
    entries = [fields for _, fields in await driver.redis.xrange(keys.OUTBOX)]
    assert [(e[b"s"], e[b"t"], e[b"w"]) for e in entries] == [
        (b"s1", b"job.running", b""),
        (b"s2", b"job.cancelled", b'"https://x.example/"'),
    ]
    assert json.loads(entries[0][b"d"])["status"] == "running"
