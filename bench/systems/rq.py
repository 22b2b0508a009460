"""RQ, as its documentation says. One worker runs one job at a time, in a fork of its own."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from redis import Redis
from rq import Queue

from bench.client import main
from bench.effects import record

queue = Queue(connection=Redis.from_url(os.environ["BENCH_REDIS_URL"]))


def noop(number: int, due: int) -> None:
    record(number, due)


def hold(number: int, due: int) -> None:
    record(number, due)
    time.sleep(600)


class Client:
    async def send(self, number: int, due: int) -> None:
        queue.enqueue("bench.systems.rq.noop", number, due)

    async def send_many(self, numbers: Sequence[int]) -> None:
        queue.enqueue_many(
            [Queue.prepare_data("bench.systems.rq.noop", (number, 0)) for number in numbers]
        )

    async def hold(self) -> None:
        queue.enqueue("bench.systems.rq.hold", 0, 0, job_timeout=3600)


@asynccontextmanager
async def opened() -> AsyncIterator[Client]:
    yield Client()


if __name__ == "__main__":
    main(opened())
