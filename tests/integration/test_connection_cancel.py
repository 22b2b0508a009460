"""A task that uses Redis can be cancelled at any moment."""

from __future__ import annotations

import asyncio

from redis.asyncio import Redis


async def test_a_cancellation_while_sending_is_not_lost(redis: Redis) -> None:
    await redis.set("n", 0)

    async def use() -> None:
        while True:
            await redis.incr("n")

    for turns in range(120):
        task = asyncio.create_task(use())
        for _ in range(turns % 12):
            await asyncio.sleep(0)
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=10)
        assert done, f"cancelled after {turns % 12} turns, it runs on"
        assert task.cancelled()


async def test_the_next_call_gets_its_own_reply(redis: Redis) -> None:
    async def echo(words: str) -> object:
        return await redis.echo(words)

    for turns in range(24):
        task = asyncio.create_task(echo(f"cancelled {turns}"))
        for _ in range(turns % 12):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert await echo(f"kept {turns}") == f"kept {turns}".encode()
