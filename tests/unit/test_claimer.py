"""The claim loop against transitions that are made up: what it asks for, and how often."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from redis.exceptions import ConnectionError as RedisConnectionError

from hub.transitions import Claim, Transitions
from worker.claimer import Claimer
from worker.slots import Slots

CLAIM = Claim("j", "1:1", "s", "t", b"{}", 1, 1, None, 0, 0, False, "default")


class Redis:
    """Answers claims from a list; an exception is a reply that was lost."""

    def __init__(self, *answers: list[Claim] | Exception) -> None:
        self.answers = list(answers)
        self.requests: list[tuple[str, int]] = []
        self.waits = 0
        self.asked = asyncio.Semaphore(0)
        self.idle = asyncio.Event()

    async def claim(self, worker_id: str, request_id: str, *, limit: int, **_: Any) -> list[Claim]:
        self.requests.append((request_id, limit))
        self.asked.release()
        answer = self.answers.pop(0) if self.answers else []
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def wait_for_work(self, queues: object, timeout: float) -> bool:
        self.waits += 1
        if self.answers:
            return True
        self.idle.set()
        await asyncio.Event().wait()
        return False


async def claimed(redis: Redis, slots: Slots, stop: asyncio.Event) -> list[Claim]:
    begun: list[Claim] = []
    claimer = Claimer(
        cast(Transitions, redis),
        "w",
        queues=["default"],
        tasks=["t"],
        lease=15,
        slots=slots,
        begin=lambda claim, valid_until: begun.append(claim),
        stop=stop,
    )
    running = asyncio.create_task(claimer.run())
    waiting = asyncio.create_task(redis.idle.wait())
    await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    stop.set()
    await running
    return begun


async def test_a_lost_reply_is_asked_for_again_under_the_same_name() -> None:
    lost = RedisConnectionError("lost")
    redis = Redis(lost, lost, [CLAIM], [])

    assert await claimed(redis, Slots(2), asyncio.Event()) == [CLAIM]

    names = [name for name, _ in redis.requests]
    assert names[0] == names[1] == names[2] != names[3]
    assert [limit for _, limit in redis.requests] == [2, 2, 2, 1]


async def test_a_full_answer_is_followed_by_no_wait() -> None:
    redis = Redis([CLAIM], [CLAIM])
    slots = Slots(1)
    taking = asyncio.create_task(claimed(redis, slots, asyncio.Event()))
    await redis.asked.acquire()
    assert redis.waits == 0
    slots.give()
    await redis.asked.acquire()
    slots.give()
    assert await taking == [CLAIM, CLAIM]


async def test_a_reply_that_is_lost_while_stopping_is_asked_for_once_more() -> None:
    stop = asyncio.Event()

    class Stopping(Redis):
        async def claim(self, *args: Any, **more: Any) -> list[Claim]:
            stop.set()
            return await super().claim(*args, **more)

    redis = Stopping(RedisConnectionError("lost"), [CLAIM])

    assert await claimed(redis, Slots(1), stop) == [CLAIM]
    assert len({name for name, _ in redis.requests}) == 1


async def test_a_worker_that_stops_gives_up_after_that() -> None:
    stop = asyncio.Event()

    class Stopping(Redis):
        async def claim(self, *args: Any, **more: Any) -> list[Claim]:
            stop.set()
            return await super().claim(*args, **more)

    redis = Stopping(*[RedisConnectionError("gone")] * 9)
    slots = Slots(1)

    assert await claimed(redis, slots, stop) == []
    assert len(redis.requests) == 2
    assert await slots.take_free() == 1
