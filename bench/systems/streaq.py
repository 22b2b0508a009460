"""streaQ, as its documentation says."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from streaq import Worker

from bench.client import main
from bench.effects import record

worker = Worker(redis_url=os.environ["BENCH_REDIS_URL"], concurrency=32)


@worker.task
async def noop(number: int, due: int) -> None:
    record(number, due)


@worker.task
async def hold(number: int, due: int) -> None:
    record(number, due)
    await asyncio.sleep(600)


class Client:
    async def send(self, number: int, due: int) -> None:
        await noop.enqueue(number, due)

    async def send_many(self, numbers: Sequence[int]) -> None:
        await worker.enqueue_many([noop.enqueue(number, 0) for number in numbers])

    async def hold(self) -> None:
        await hold.enqueue(0, 0)


@asynccontextmanager
async def opened() -> AsyncIterator[Client]:
    async with worker:
        yield Client()


if __name__ == "__main__":
    main(opened())
