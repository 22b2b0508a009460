"""Deliverers die by kill -9 in the middle of everything; every event arrives all the same."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.asyncio import Redis

from hub import keys
from hub.jobs import NewJob
from hub.scripts import Scripts
from hub.settings import Settings
from hub.store import Store
from hub.webhooks.store import WebhookStore
from tests.conftest import wait_until
from tests.receiver import answer, serving

# A hub's deliverer alone, with a lease short enough to wait for.
PROGRAM = """
import asyncio
from hub.connection import connect
from hub.scripts import Scripts
from hub.settings import Settings
from hub.webhooks.deliveries import Deliveries
from hub.webhooks.delivery import Deliverer
from hub.webhooks.guard import parse_networks
from hub.webhooks.sender import Sender

async def main():
    settings = Settings.from_env()
    deliveries = Deliveries(connect(settings.redis_url), Scripts(settings))
    async with Sender(allow_http=True, allow_nets=parse_networks("127.0.0.0/8")) as sender:
        secret = settings.checked_secret()
        await Deliverer(deliveries, sender, secret, lease=1.0, look_again=0.1).run()

asyncio.run(main())
"""


@asynccontextmanager
async def deliverer(settings: Settings) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", PROGRAM),
        env={"JOBCAST_REDIS_URL": settings.redis_url, "JOBCAST_SECRET": settings.secret},
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.mark.slow
async def test_killed_again_and_again_nothing_is_lost(
    redis: Redis, scripts: Scripts, store: Store, settings: Settings
) -> None:
    client: Any = redis
    hooks = WebhookStore(redis, scripts)
    async with serving(None, answer("200 OK")) as receiver:
        webhooks = [
            await hooks.put(url=receiver.url, types=["job.pending"], session_id="s1", owner="test")
            for _ in range(2)
        ]
        for round_ in range(4):
            async with deliverer(settings) as process:
                for _ in range(15):
                    await store.enqueue(NewJob(session_id="s1", task="t"))
                # It dies with tries in flight and entries in the outbox.
                await receiver.got(len(receiver.requests) + 3 + round_)
                process.kill()
                await process.wait()

        async def all_done() -> bool:
            done = [await client.zcard(keys.deliveries("done", webhook.id)) for webhook in webhooks]
            return done == [60, 60]

        async with deliverer(settings):
            await wait_until(all_done, "all 120 deliveries are done", timeout=60)
    assert len(set(receiver.ids)) == 120
    assert await client.xlen(keys.OUTBOX) == 0
    assert await client.exists(keys.WEBHOOK_NEXT) == 0
