"""Clients that do not read as fast as they are told."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator

import pytest

from hub.settings import Settings
from tests.conftest import API_KEY, wait_until
from tests.running_hub import Hub, running
from tests.wire import Hands, Wire, stuck, wire


@pytest.fixture
async def narrow(settings: Settings, fast: bool) -> AsyncIterator[Hub]:
    """A hub whose clients fall behind early."""
    async with running(
        dataclasses.replace(settings, unsent_bytes=4_096), API_KEY, fast=fast
    ) as hub:
        yield hub


async def test_a_slow_client_lags_and_has_every_lifecycle_event_in_the_end(narrow: Hub) -> None:
    hands = Hands(narrow.services)
    async with wire(narrow, "/ws/s1", narrow=True) as client:
        await client.until("hello")
        job_id = await hands.start()
        jobs = 1 + await stuck(narrow, hands)
        for percent in range(1, 51):
            await hands.progress(job_id, percent)
            await hands.log(job_id, percent, f"line {percent}")
        for _ in range(100):
            await hands.queue()
        jobs += 100
        pending = 0
        while pending < jobs:
            await client.until("job.pending")
            pending += 1
        progress = await client.until("job.progress")
        gap = await client.until("job.log_gap")
        await hands.log(job_id, 51, "live again")
        assert (await client.until("job.log"))["line"] == 51
        await hands.finish(job_id)
        await client.until("job.completed")
    numbers = [int(cursor.split("-")[0]) for cursor in client.lifecycle]
    assert numbers == list(range(1, len(numbers) + 1))
    assert progress["data"]["progress"] == {"percent": 50}
    assert (gap["job_id"], gap["data"]) == (job_id, {"from": 1, "to": 50})
    kinds = [frame["type"] for frame in client.frames]
    assert kinds.count("job.progress") == kinds.count("job.log_gap") == kinds.count("hello") == 1


async def test_a_client_without_progress_is_closed_as_too_slow(
    settings: Settings, fast: bool
) -> None:
    impatient = dataclasses.replace(settings, unsent_bytes=4_096, stall_close=0.3)
    async with running(impatient, API_KEY, fast=fast) as hub:
        hands = Hands(hub.services)
        async with wire(hub, "/ws/s1", narrow=True) as client:
            await client.until("hello")
            await stuck(hub, hands)

            async def given_up() -> bool:
                return hub.services.fanout.subscribers == 0

            await wait_until(given_up, "giving up on the client")
            assert await client.closed() == 4008
            goodbye = client.frames[-1]
            assert (goodbye["type"], goodbye["code"]) == ("goodbye", 4008)


async def test_a_client_that_asks_and_does_not_read_is_not_read_from(narrow: Hub) -> None:
    flood = json.dumps({"type": "ping", "ref": "x" * 120})

    async def ask(client: Wire) -> None:
        while True:
            await client.socket.send(flood)

    async with wire(narrow, narrow=True) as client:
        # It never ends by itself: the hub stops reading, and then the client cannot send.
        asking = asyncio.create_task(ask(client))
        streams = narrow.services.streams

        async def full() -> bool:
            return streams.unsent > 4_096

        await wait_until(full, "answers that wait for the client to read")
        for _ in range(100):
            await asyncio.sleep(0)
            assert streams.unsent < 2 * 4_096
        assert not asking.done()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        client.socket.transport.abort()
