"""taskiq with the broker and the result backend of taskiq-redis's README."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

from bench.client import main
from bench.effects import record

URL = os.environ["BENCH_REDIS_URL"]

broker = RedisStreamBroker(url=URL).with_result_backend(RedisAsyncResultBackend(redis_url=URL))


@broker.task(task_name="noop")
async def noop(number: int, due: int) -> None:
    record(number, due)


@broker.task(task_name="hold")
async def hold(number: int, due: int) -> None:
    record(number, due)
    await asyncio.sleep(600)


class Client:
    async def send(self, number: int, due: int) -> None:
        await noop.kiq(number, due)

    async def send_many(self, numbers: Sequence[int]) -> None:
        await asyncio.gather(*(noop.kiq(number, 0) for number in numbers))

    async def hold(self) -> None:
        await hold.kiq(0, 0)


@asynccontextmanager
async def opened() -> AsyncIterator[Client]:
    await broker.startup()
    yield Client()
    await broker.shutdown()


if __name__ == "__main__":
    main(opened())
