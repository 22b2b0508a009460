"""The side that queues: `python -m bench.systems.NAME WORK COUNT [RATE]`, one JSON line out."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

#: Jobs in one call of a batch.
BATCH = 100


class Client(Protocol):
    """How one system queues."""

    async def send(self, number: int, due: int) -> Any:
        """Queues one no-op."""

    async def send_many(self, numbers: Sequence[int]) -> Any:
        """Queues many no-ops in the best way that the system has."""

    async def hold(self) -> Any:
        """Queues a job that says that it has started, and then goes on for ten minutes."""


async def _work(client: Client, work: str, count: int, rate: float) -> None:
    began = time.perf_counter()
    match work:
        case "single":
            for number in range(count):
                await client.send(number, 0)
        case "batch":
            for first in range(0, count, BATCH):
                await client.send_many(range(first, min(first + BATCH, count)))
        case "pace":
            await _pace(client, count, rate)
        case "hold":
            await client.hold()
    print(json.dumps({"seconds": time.perf_counter() - began}))


async def _pace(client: Client, count: int, rate: float) -> None:
    """An open loop: a job is due when its time has come, however the ones before it fare. Its
    latency counts from when it was due."""
    begin = time.monotonic_ns() + 10_000_000
    async with asyncio.TaskGroup() as group:
        for number in range(count):
            due = begin + int(number * 1e9 / rate)
            await asyncio.sleep(max(0.0, (due - time.monotonic_ns()) / 1e9))
            group.create_task(client.send(number, due))


def main(opened: AbstractAsyncContextManager[Client]) -> None:
    """Runs what the command line says with a client."""
    work, count = sys.argv[1], int(sys.argv[2])
    rate = float(sys.argv[3]) if len(sys.argv) > 3 else 0.0

    async def run() -> None:
        async with opened as client:
            await _work(client, work, count, rate)

    import uvloop

    uvloop.run(run())
