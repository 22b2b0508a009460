"""SAQ, as its README says."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from saq import Queue

from bench.client import main
from bench.effects import record

queue = Queue.from_url(os.environ["BENCH_REDIS_URL"])


async def noop(ctx: Any, *, number: int, due: int) -> None:
    record(number, due)


async def hold(ctx: Any, *, number: int, due: int) -> None:
    record(number, due)
    await asyncio.sleep(600)


settings = {"queue": queue, "functions": [noop, hold], "concurrency": 32}


class Client:
    async def send(self, number: int, due: int) -> None:
        await queue.enqueue("noop", number=number, due=due)

    async def send_many(self, numbers: Sequence[int]) -> None:
        await asyncio.gather(*(self.send(number, 0) for number in numbers))

    async def hold(self) -> None:
        await queue.enqueue("hold", number=0, due=0)


@asynccontextmanager
async def opened() -> AsyncIterator[Client]:
    await queue.connect()
    yield Client()
    await queue.disconnect()


if __name__ == "__main__":
    main(opened())
