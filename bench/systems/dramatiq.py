"""Dramatiq with Redis, as its guide says: actors are plain functions, workers are threads."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from bench.client import main
from bench.effects import record

dramatiq.set_broker(RedisBroker(url=os.environ["BENCH_REDIS_URL"]))


@dramatiq.actor
def noop(number: int, due: int) -> None:
    record(number, due)


@dramatiq.actor(time_limit=3_600_000)
def hold(number: int, due: int) -> None:
    record(number, due)
    time.sleep(600)


class Client:
    async def send(self, number: int, due: int) -> None:
        noop.send(number, due)

    async def send_many(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            noop.send(number, 0)

    async def hold(self) -> None:
        hold.send(0, 0)


@asynccontextmanager
async def opened() -> AsyncIterator[Client]:
    yield Client()


if __name__ == "__main__":
    main(opened())
