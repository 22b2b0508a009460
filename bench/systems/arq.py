"""arq, as its documentation says."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from arq import create_pool
from arq.connections import ArqRedis, RedisSettings

from bench.client import main
from bench.effects import record

SETTINGS = RedisSettings.from_dsn(os.environ["BENCH_REDIS_URL"])


async def noop(ctx: Any, number: int, due: int) -> None:
    record(number, due)


async def hold(ctx: Any, number: int, due: int) -> None:
    record(number, due)
    await asyncio.sleep(600)


class WorkerSettings:
    functions = (noop, hold)
    redis_settings = SETTINGS
    max_jobs = 32


class Client:
    def __init__(self, pool: ArqRedis) -> None:
        self._pool = pool

    async def send(self, number: int, due: int) -> None:
        await self._pool.enqueue_job("noop", number, due)

    async def send_many(self, numbers: Sequence[int]) -> None:
        await asyncio.gather(*(self.send(number, 0) for number in numbers))

    async def hold(self) -> None:
        await self._pool.enqueue_job("hold", 0, 0)


@asynccontextmanager
async def opened() -> AsyncIterator[Client]:
    pool = await create_pool(SETTINGS)
    yield Client(pool)
    await pool.aclose()


if __name__ == "__main__":
    main(opened())
