"""The scripts as scripts, on Redis's clock; the tick; and the checker."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis.asyncio import Redis

from hub import keys
from hub.invariant import check
from hub.scripts import Scripts, names
from tests.integration.store.conftest import Driver


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
