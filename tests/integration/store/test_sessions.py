"""A session's jobs, snapshot and history, and how it is forgotten."""

from __future__ import annotations

import pytest
from redis.exceptions import ResponseError

from hub import keys
from tests.integration.store.conftest import Driver


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


async def test_a_cursor_of_the_wrong_kind_is_refused_by_redis(driver: Driver) -> None:
    await driver.reach("completed")
    with pytest.raises(ResponseError):
        await driver.store.history("s1", b"not a cursor")
