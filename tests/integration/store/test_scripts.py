"""What every script promises: exact bytes, one event per change, harmless repeats."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError, ResponseError

from hub import keys
from hub.errors import Busy, Conflict, NotFound, StaleToken
from hub.events import Publication, parse
from hub.invariant import check
from hub.jobs import NewJob
from hub.scripts import Scripts, names
from hub.settings import Settings
from tests.integration.store.conftest import Driver

ERROR = b'{"code":"error","message":"x"}'


async def published(redis: Redis, session_id: str, act: Any) -> list[Publication]:
    """What is published about a session while `act()` runs."""
    client: Any = redis
    pubsub = client.pubsub()
    channel = keys.live(session_id)
    await pubsub.ssubscribe(channel)
    await pubsub.get_message(timeout=5)
    await act()
    await client.execute_command("SPUBLISH", channel, "X -\n")
    out = []
    while True:
        message = await pubsub.get_message(timeout=5)
        assert message is not None
        publication = parse(message["data"])
        if publication.kind == "X":
            break
        out.append(publication)
    await pubsub.aclose()
    return out


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
    assert b'"result":' + raw + b"," in last.body
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


@pytest.mark.parametrize(
    "repeat", ["complete", "fail", "confirm_cancel", "retry", "release", "ask", "cancel", "answer"]
)
async def test_a_repeat_changes_nothing(driver: Driver, repeat: str) -> None:
    start = {"confirm_cancel": "cancelling", "answer": "waiting"}.get(repeat, "running")
    job_id = await driver.reach(start)
    await driver.act(repeat, job_id)
    job, types = await driver.job(job_id), await driver.types()
    if repeat == "answer":
        await driver.do.answer(job_id, "confirm", b'"yes"')
    else:
        await driver.act(repeat, job_id)
    assert (await driver.job(job_id)).rev == job.rev
    assert await driver.types() == types


async def test_a_repeated_enqueue_is_one_job(driver: Driver) -> None:
    job_id = await driver.queue()
    again = await driver.store.enqueue(NewJob(session_id="s1", task="work"), job_id)
    assert (again.created, again.job.id) == (False, job_id)
    assert await driver.types() == ["job.pending"]


async def test_a_repeated_claim_answers_the_same(driver: Driver) -> None:
    for _ in range(3):
        await driver.queue()

    async def claim() -> list[Any]:
        return list(
            await driver.do.claim(
                "w1", "same", queues=["default"], tasks=["work"], lease=15, limit=2
            )
        )

    first = await claim()
    assert len(first) == 2
    assert await claim() == first
    await driver.do.finish(first[0].job_id, first[0].token, "completed", b"1")
    assert await claim() == first[1:]


async def test_a_stale_token_writes_nothing(driver: Driver) -> None:
    job_id = await driver.reach("running")
    old = driver.tokens[job_id]
    await driver.act("reap", job_id)
    await driver.claim(worker="w2")
    before = await driver.job(job_id)
    calls = [
        driver.do.finish(job_id, old, "completed", b"1"),
        driver.do.finish(job_id, old, "failed", ERROR),
        driver.do.retry(job_id, old, 1, ERROR),
        driver.do.release(job_id, old),
        driver.do.ask(job_id, old, "q", b'"id":"q","kind":"question","prompt":"?"'),
        driver.do.withdraw(job_id, old),
        driver.do.progress(job_id, old, b'{"percent":1}'),
        driver.do.log(job_id, old, 1, [b'{"text":"x"}']),
        driver.do.step(job_id, old, "a", b"1"),
    ]
    for call in calls:
        with pytest.raises(StaleToken, match=job_id):
            await call
    assert await driver.do.heartbeat("w1", 15, [(job_id, old)]) == ["lost"]
    assert await driver.job(job_id) == before
    assert await driver.do.memo(job_id) == {}


async def test_tokens_and_nonces_are_never_the_same(driver: Driver) -> None:
    ids = [await driver.queue() for _ in range(20)]
    claims = await driver.claim(limit=20)
    assert len({claim.token for claim in claims}) == 20
    entries = (await driver.store.history("s1", b"0-0")).entries
    assert len({entry.cursor.split(b"-")[1] for entry in entries}) == 40
    assert {claim.job_id for claim in claims} == set(ids)


async def test_heartbeat_extends_and_tells(driver: Driver) -> None:
    running, cancelling = await driver.reach("running"), await driver.reach("cancelling")
    held = [(job_id, driver.tokens[job_id]) for job_id in (running, cancelling)]
    await driver.redis.zadd(keys.RUNNING, {running: 1, cancelling: 1})
    assert await driver.do.heartbeat("w1", 15, held) == ["running", "cancelling"]
    await driver.ticker.once()
    assert await driver.state(running) == "running"


async def test_priority_and_order(driver: Driver) -> None:
    late = [await driver.queue(priority=5) for _ in range(2)]
    urgent = await driver.queue(priority=0)
    lazy = await driver.queue(priority=9)
    claims = await driver.claim(limit=9)
    assert [claim.job_id for claim in claims] == [urgent, *late, lazy]


async def test_sessions_take_turns(driver: Driver) -> None:
    for _ in range(50):
        await driver.queue("busy")
    await driver.claim(limit=10)
    quiet = await driver.queue("quiet")
    claims = await driver.claim(limit=2)
    assert quiet in [claim.job_id for claim in claims]


async def test_delayed_jobs_are_promoted_when_due(driver: Driver) -> None:
    job_id = await driver.queue(delay=60.0)
    await driver.ticker.once()
    assert await driver.claim() == []
    await driver.redis.zadd(keys.DELAYED, {job_id: 1})
    assert (await driver.ticker.once()).promoted == 1
    assert [claim.job_id for claim in await driver.claim()] == [job_id]


async def test_keys_name_one_live_job(driver: Driver) -> None:
    first = await driver.queue(key="nightly")
    again = await driver.store.enqueue(NewJob(session_id="s1", task="work", key="nightly"))
    other = await driver.store.enqueue(NewJob(session_id="s2", task="work", key="nightly"))
    assert (again.created, again.job.id) == (False, first)
    assert other.created
    await driver.do.cancel(first)
    assert (await driver.store.enqueue(NewJob(session_id="s1", task="work", key="nightly"))).created


async def test_an_idempotency_key_outlives_its_job(driver: Driver) -> None:
    new = NewJob(session_id="s1", task="work", idempotency_key="k", credential="ci")
    first = await driver.store.enqueue(new)
    await driver.do.cancel(first.job.id)
    assert (await driver.store.enqueue(new)).job.id == first.job.id
    elsewhere = NewJob(session_id="s1", task="work", idempotency_key="k", credential="other")
    assert (await driver.store.enqueue(elsewhere)).created


async def test_two_clicks_on_retry_make_one_job(driver: Driver) -> None:
    old = await driver.reach("failed")
    new = NewJob(session_id="s1", task="work", retry_of=old)
    first, second = await driver.store.enqueue(new), await driver.store.enqueue(new)
    assert (first.created, second.created) == (True, False)
    assert first.job.id == second.job.id
    assert (await driver.job(old)).retried_by == first.job.id
    assert (await driver.types())[-1] == "job.pending"
    assert (await driver.types()).count("job.pending") == 2
    with pytest.raises(Conflict, match="pending"):
        await driver.store.enqueue(NewJob(session_id="s1", task="work", retry_of=first.job.id))
    with pytest.raises(NotFound):
        await driver.store.enqueue(NewJob(session_id="s1", task="work", retry_of="nope"))


async def test_an_unknown_task_is_parked_until_it_is_announced(driver: Driver) -> None:
    job_id = await driver.queue()
    assert await driver.claim(tasks="another") == []
    assert await driver.state(job_id) == "pending"
    assert await driver.types() == ["job.pending"]
    assert await driver.do.announce({"work": {"name": "work"}}) == 1
    assert [claim.job_id for claim in await driver.claim()] == [job_id]
    announced = await driver.store.task("work")
    assert announced is not None
    assert set(announced) == {"name", "announced_at"}


async def test_a_parked_job_is_taken_up_when_a_live_worker_has_its_task(
    driver: Driver, scripts: Scripts
) -> None:
    job_id = await driver.queue()
    await driver.claim(tasks="another")
    await scripts.run(driver.redis, "heartbeat", "w2", 15_000, b"{}", ",work,", ",default,")
    assert (await driver.ticker.once()).unparked == 1
    assert [claim.job_id for claim in await driver.claim()] == [job_id]


async def test_answers_and_steps_outlive_a_crash(driver: Driver) -> None:
    job_id = await driver.reach("input_required")
    token = driver.tokens[job_id]
    await driver.do.step(job_id, token, "fetch", b'{"n":1}')
    await driver.act("reap", job_id)
    assert await driver.state(job_id) == "waiting"
    await driver.do.answer(job_id, "q1", b'"blue"')
    [claim] = await driver.claim()
    assert claim.memo
    assert await driver.do.memo(job_id) == {"answer:q1": b'"blue"', "step:fetch": b'{"n":1}'}
    asked = await driver.do.ask(job_id, claim.token, "q1", b'"id":"q1"')
    assert (asked.status, asked.answer) == ("running", b'"blue"')


async def test_answers_to_the_wrong_question(driver: Driver) -> None:
    job_id = await driver.reach("input_required")
    with pytest.raises(Conflict, match="q1"):
        await driver.do.answer(job_id, "other", b"1")
    with pytest.raises(Conflict, match="one question"):
        await driver.do.ask(job_id, driver.tokens[job_id], "q2", b'"id":"q2"')
    await driver.do.answer(job_id, "q1", b"1")
    with pytest.raises(Conflict, match="already"):
        await driver.do.answer(job_id, "q1", b"2")
    with pytest.raises(NotFound):
        await driver.do.answer("nope", "q1", b"1")


async def test_cancelling_tells_the_worker(driver: Driver) -> None:
    job_id = await driver.reach("running")
    pubsub = driver.redis.pubsub()
    await pubsub.ssubscribe(keys.CONTROL)
    await pubsub.get_message(timeout=5)
    await driver.do.cancel(job_id)
    message = await pubsub.get_message(timeout=5)
    assert message["data"] == f"cancel {job_id}".encode()
    await pubsub.aclose()


async def test_wake_markers_wake_one_worker_per_job(driver: Driver) -> None:
    await driver.queue()
    await driver.queue()
    assert await driver.do.wait_for_work(["default"], 5)
    await driver.claim()
    assert await driver.do.wait_for_work(["default"], 5)
    await driver.claim()
    assert not await driver.do.wait_for_work(["default"], 0.05)


async def test_a_paused_queue_hands_out_nothing(driver: Driver) -> None:
    await driver.queue()
    assert await driver.do.pause("default", True)
    assert await driver.claim() == []
    assert await driver.do.pause("default", False)
    assert len(await driver.claim()) == 1


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


async def test_jobs_page_newest_first(driver: Driver) -> None:
    made = [await driver.queue(task="work" if n % 2 else "rest") for n in range(25)]
    seen: list[str] = []
    cursor = None
    while True:
        page = await driver.store.jobs(session_id="s1", limit=10, cursor=cursor)
        seen += [job.id for job in page.jobs]
        cursor = page.more
        if cursor is None:
            break
    assert sorted(seen) == sorted(made)
    created = [(await driver.job(job_id)).created_at for job_id in seen]
    assert created == sorted(created, reverse=True)
    rest = await driver.store.jobs(task="rest", status=frozenset({"pending"}), limit=50)
    assert len(rest.jobs) == 13


async def test_a_snapshot_shows_live_jobs_first_and_is_bounded(driver: Driver) -> None:
    live = await driver.queue()
    for _ in range(110):
        await driver.do.cancel(await driver.queue(params=b'{"a":"' + b"x" * 2000 + b'"}'))
    snapshot = await driver.store.snapshot("s1")
    assert len(snapshot.jobs) == 100
    assert snapshot.jobs[0].id == live
    assert snapshot.more is not None
    assert all(job.params_truncated for job in snapshot.jobs[1:])
    rest = await driver.store.jobs(session_id="s1", limit=50, cursor=snapshot.more)
    shown = {job.id for job in snapshot.jobs} | {job.id for job in rest.jobs}
    assert len(shown) == 111


async def test_history_is_exact_or_says_that_it_is_not(driver: Driver) -> None:
    await driver.reach("completed")
    full = await driver.store.history("s1", b"0-0")
    middle = full.entries[0].cursor
    assert [e.cursor for e in (await driver.store.history("s1", middle)).entries] == [
        e.cursor for e in full.entries[1:]
    ]
    assert (await driver.store.history("s1", full.top)).entries == []
    # The same place in another past: the number is right, the nonce is not.
    assert not (await driver.store.history("s1", b"1-5")).exact
    assert not (await driver.store.history("s1", b"99-5")).exact
    assert not (await driver.store.history("nothing", middle)).exact
    assert (await driver.store.history("nothing", b"0-0")).exact
    await driver.redis.xtrim(keys.events("s1"), maxlen=1, approximate=False)
    assert not (await driver.store.history("s1", b"0-0")).exact
    assert not (await driver.store.history("s1", middle)).exact


async def test_a_forgotten_session_leaves_nothing_and_its_jobs_end_in_silence(
    driver: Driver,
) -> None:
    ended, waiting = await driver.reach("failed"), await driver.reach("waiting")
    running = await driver.reach("running")
    await driver.store.say("s1", "user", "m1", "hi")

    async def forget() -> None:
        assert await driver.store.forget("s1")

    await forget()
    assert await driver.store.job(ended) is None
    assert await driver.store.job(waiting) is None
    assert await driver.state(running) == "cancelling"
    assert await driver.do.finish(running, driver.tokens[running], "cancelled") == "cancelled"
    assert (await driver.store.snapshot("s1")).cursor == "0-0"
    assert await driver.redis.keys(keys.PREFIX + "*:s1") == []
    assert not await driver.store.forget("s1")


async def test_terminal_jobs_expire_and_live_ones_do_not(driver: Driver) -> None:
    ended, live = await driver.reach("completed"), await driver.reach("running")
    assert await driver.redis.pttl(keys.job(ended)) > 0
    assert await driver.redis.pttl(keys.job(live)) == -1


async def test_idle_sessions_are_forgotten_by_the_tick_but_not_live_ones(driver: Driver) -> None:
    await driver.reach("completed")
    live = await driver.queue("s2")
    await driver.redis.zadd(keys.SESSIONS, {"s1": 1, "s2": 1})
    assert (await driver.ticker.once()).forgotten == 1
    assert await driver.redis.keys(keys.PREFIX + "*:s1") == []
    assert (await driver.store.snapshot("s2")).jobs[0].id == live


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


async def test_a_full_outbox_stops_queueing_but_never_an_ending(
    redis: Redis, settings: Settings
) -> None:
    small = Settings(redis_url=settings.redis_url, outbox_entries=1)
    driver = Driver(redis, Scripts(small))
    await driver.redis.hset(keys.HOOKED, "*", ",job.running,job.completed,")
    job_id = await driver.reach("running")
    with pytest.raises(Busy, match="webhooks"):
        await driver.queue()
    assert await driver.do.finish(job_id, driver.tokens[job_id], "completed", b"1") == "completed"


async def test_no_memory_stops_queueing_but_never_an_ending(driver: Driver) -> None:
    job_id, doomed = await driver.reach("running"), await driver.reach("running")
    held = [(i, driver.tokens[i]) for i in (job_id, doomed)]
    await driver.redis.config_set("maxmemory", "1mb")
    try:
        with pytest.raises(Busy, match="maxmemory"):
            await driver.queue()
        with pytest.raises(OutOfMemoryError):
            await driver.do.progress(job_id, driver.tokens[job_id], b'{"percent":1}')
        assert await driver.do.heartbeat("w1", 15, held) == ["running", "running"]
        await driver.do.finish(job_id, driver.tokens[job_id], "completed", b"1")
        await driver.do.cancel(doomed)
        await driver.do.release(doomed, driver.tokens[doomed])
        await driver.ticker.once()
    finally:
        await driver.redis.config_set("maxmemory", "0")
    assert await driver.state(job_id) == "completed"
    assert await driver.state(doomed) == "cancelled"


async def test_scripts_survive_script_flush(driver: Driver) -> None:
    await driver.reach("completed")
    await driver.redis.script_flush()
    await driver.reach("failed")


async def test_every_script_declares_its_keys_and_arguments(scripts: Scripts) -> None:
    for name in names():
        source = scripts[name].source
        body = source.rsplit("return true\nend\n", 1)[-1]
        assert "-- KEYS 1 prefix\n-- ARGV 1 seed" in body, name


@pytest.mark.parametrize("name", ["finish", "heartbeat", "release", "cancel", "tick", "retry"])
async def test_what_ends_things_may_run_without_memory(scripts: Scripts, name: str) -> None:
    assert scripts[name].source.startswith("#!lua flags=allow-oom\n")


async def test_times_are_right(driver: Driver, redis: Redis) -> None:
    job = await driver.job(await driver.queue())
    at = datetime.fromisoformat(job.created_at)
    seconds, _ = await driver.redis.time()
    assert abs(at - datetime.fromtimestamp(seconds, UTC)) < timedelta(seconds=30)


@pytest.mark.parametrize("ms", [0, 951_782_400_000, 1_709_164_799_999, 4_102_444_800_000, 1])
async def test_lua_writes_dates_as_python_does(scripts: Scripts, redis: Redis, ms: int) -> None:
    client: Any = redis
    source = scripts["pause"].source
    prelude = source[: source.index("-- KEYS 1 prefix")]
    got = await client.eval(prelude + "\nreturn iso(tonumber(ARGV[2]))", 1, keys.PREFIX, "s", ms)
    at = datetime.fromtimestamp(ms // 1000, UTC)
    assert got.decode() == f"{at:%Y-%m-%dT%H:%M:%S}.{ms % 1000:03d}Z"


async def test_one_ticker_leads(driver: Driver, scripts: Scripts, redis: Redis) -> None:
    other = Driver(redis, scripts)
    assert (await driver.ticker.once()).role == "led"
    assert (await other.ticker.once()).role == "follows"
    assert (await driver.ticker.once()).role == "led"
    await driver.redis.hset(keys.TICK, "until", 1)
    assert (await other.ticker.once()).role == "led"


@pytest.mark.parametrize("cause", ["gap", "backward", "failover"])
async def test_after_a_jump_nothing_is_reaped_for_a_lease(driver: Driver, cause: str) -> None:
    await driver.ticker.once()
    job_id = await driver.reach("running")
    await driver.redis.zadd(keys.RUNNING, {job_id: 1})
    last = int(await driver.redis.hget(keys.TICK, "last"))
    change = {
        "gap": {"last": last - 5_001},
        "backward": {"last": last + 60_000, "until": last + 61_000},
        "failover": {"replid": "0" * 40},
    }[cause]
    await driver.redis.hset(keys.TICK, mapping=change)
    tick = await driver.ticker.once()
    assert (tick.role, tick.reaped) == ("holds", 0)
    assert await driver.state(job_id) == "running"
    assert (await driver.ticker.once()).role == "holds"
    hold = int(await driver.redis.hget(keys.TICK, "hold_until"))
    assert hold - int(await driver.redis.hget(keys.TICK, "last")) <= 15_000
    await driver.redis.hset(keys.TICK, "hold_until", 0)
    assert (await driver.ticker.once()).reaped == 1


async def test_the_checker_finds_what_is_wrong(driver: Driver) -> None:
    job_id = await driver.reach("running")
    await driver.redis.zrem(keys.RUNNING, job_id)
    assert any("0 places" in line for line in await check(driver.redis))
    await driver.redis.zadd(keys.RUNNING, {job_id: 1, "ghost": 2})
    assert any("ghost" in line for line in await check(driver.redis))
    await driver.redis.zrem(keys.RUNNING, "ghost")
    await driver.redis.hset(keys.job(job_id), "status", "completed")
    assert any("still in" in line for line in await check(driver.redis))
    await driver.redis.hset(keys.job(job_id), "status", "running")


async def test_many_callers_at_once_claim_each_job_once(driver: Driver) -> None:
    for _ in range(60):
        await driver.queue()
    claims = await asyncio.gather(*(driver.claim(limit=7, worker=f"w{n}") for n in range(12)))
    ids = [claim.job_id for batch in claims for claim in batch]
    assert len(ids) == len(set(ids)) == 60


async def test_a_cursor_of_the_wrong_kind_is_refused_by_redis(driver: Driver) -> None:
    await driver.reach("completed")
    with pytest.raises(ResponseError):
        await driver.store.history("s1", b"not a cursor")
