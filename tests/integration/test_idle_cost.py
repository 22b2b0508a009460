"""What a worker costs its Redis while there is nothing to do."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from redis.asyncio import Redis

from hub.settings import Settings
from tests.conftest import Server
from worker.processes import Processes
from worker.runner import Options, Runner
from worker.tasks import Registry, task

SECONDS = 20
#: Per second and worker, whatever it is for: claiming, renewing, the tick.
MOST = 2.0


@task
async def nothing() -> None:
    return


@asynccontextmanager
async def idle_worker(settings: Settings) -> AsyncIterator[None]:
    registry = Registry()
    registry.add(nothing)
    async with Processes.local() as processes:
        runner = Runner(registry, settings, processes, Options(concurrency=32))
        working = asyncio.create_task(runner.run())
        try:
            yield
        finally:
            runner.drain()
            await working


async def sent(redis: Redis, seconds: float) -> int:
    """How many commands come in; those that scripts call are a part of theirs."""
    count = 0
    with contextlib.suppress(TimeoutError):
        async with redis.monitor() as monitor, asyncio.timeout(seconds):
            while True:
                command = await monitor.next_command()
                count += command["client_type"] != "lua"
    return count


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
async def test_an_idle_worker_sends_fewer_than_two_commands_a_second(
    own_valkey: Server, workers: int
) -> None:
    """The one that leads the tick and the one that follows alike."""
    settings = Settings(redis_url=own_valkey.url, secret="a secret of 32 bytes, for tests only")
    redis = Redis.from_url(own_valkey.url)
    async with idle_worker(settings):
        if workers == 2:
            async with idle_worker(settings):
                await asyncio.sleep(3)
                count = await sent(redis, SECONDS)
        else:
            await asyncio.sleep(3)
            count = await sent(redis, SECONDS)
    await redis.aclose()
    assert 0 < count < MOST * workers * SECONDS
