"""The claim loop against transitions that are made up: what it asks for, and how often."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from hub.claims import Claim
from hub.transitions import Transitions
from worker import bell
from worker.claimer import Claimer
from worker.slots import Slots

CLAIM = Claim("j", "1:1", "s", "t", b"{}", 1, 1, None, 0, 0, False, "default")


class Redis:
    """Answers claims from a list; an exception is a reply that was lost."""

    def __init__(self, *answers: list[Claim] | Exception) -> None:
        self.answers = list(answers)
        self.requests: list[tuple[str, int]] = []
        self.waits = 0
        self.closed = 0
        self.renewed: list[tuple[str, str]] = []
        self.status: str | None = "running"
        self.asked = asyncio.Semaphore(0)
        self.idle = asyncio.Event()

    async def claim(self, worker_id: str, request_id: str, *, limit: int, **_: Any) -> list[Claim]:
        self.requests.append((request_id, limit))
        self.asked.release()
        answer = self.answers.pop(0) if self.answers else []
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def heartbeat(
        self, worker_id: str, lease: float, held: list[tuple[str, str]]
    ) -> list[str]:
        assert (worker_id, lease) == ("", 15)
        self.renewed += held
        if self.status is None:
            raise RedisConnectionError("away")
        return [self.status]


class Bell:
    """Answers as `redis` does while that has answers; else when it is interrupted, with nothing."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self.interrupts = 0
        self.interrupted = asyncio.Semaphore(0)
        self._interrupted = asyncio.Event()

    async def claim(self, wait: float, *args: Any, **more: Any) -> list[Claim]:
        self.redis.waits += 1
        if self.redis.answers:
            return await self.redis.claim(*args, **more)
        self._interrupted.clear()
        self.redis.idle.set()
        await self._interrupted.wait()
        return []

    async def interrupt(self) -> None:
        self.interrupts += 1
        self.interrupted.release()
        self._interrupted.set()

    async def aclose(self) -> None:
        self.redis.closed += 1


def claimer(redis: Redis, slots: Slots, stop: asyncio.Event, begun: list[Claim]) -> Claimer:
    return Claimer(
        cast(Transitions, redis),
        cast(bell.Bell, Bell(redis)),
        "w",
        queues=["default"],
        tasks=["t"],
        lease=15,
        slots=slots,
        begin=lambda claim, valid_until: begun.append(claim),
        stop=stop,
    )


async def claimed(redis: Redis, slots: Slots, stop: asyncio.Event) -> list[Claim]:
    """What is claimed until there is nothing more, or `stop` is set."""
    begun: list[Claim] = []
    running = asyncio.create_task(claimer(redis, slots, stop, begun).run())
    waiting = asyncio.create_task(redis.idle.wait())
    await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    stop.set()
    await running
    assert redis.closed == 1
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


async def test_who_waits_holds_two_slots_and_leaves_the_others() -> None:
    redis, slots, stop = Redis([]), Slots(6), asyncio.Event()
    running = asyncio.create_task(claimer(redis, slots, stop, []).run())
    await redis.idle.wait()

    assert await slots.take_free() == 4

    stop.set()
    await running
    assert redis.requests == [(redis.requests[0][0], 6)]


async def test_after_what_was_waited_for_comes_a_rush_when_there_is_one() -> None:
    redis = Redis([CLAIM], [CLAIM], [CLAIM, CLAIM], [CLAIM], [])

    assert len(await claimed(redis, Slots(7), asyncio.Event())) == 5

    # Asked for all; waited and got one; waited and got two, so asked for all there is.
    assert [limit for _, limit in redis.requests] == [7, 2, 2, 3, 2]


async def test_a_reply_that_is_lost_while_waiting_is_asked_for_under_the_same_name() -> None:
    redis = Redis([], RedisConnectionError("lost"), [CLAIM])

    assert await claimed(redis, Slots(2), asyncio.Event()) == [CLAIM]

    names = [name for name, _ in redis.requests]
    assert names[1] == names[2] != names[0]


async def test_a_job_that_wants_its_slot_back_has_it_from_who_waits() -> None:
    redis, slots, stop = Redis([]), Slots(1), asyncio.Event()
    assert await slots.take_free() == 1
    assert slots.lend()
    running = asyncio.create_task(claimer(redis, slots, stop, []).run())
    await redis.idle.wait()
    redis.idle.clear()

    await slots.take_back()

    assert not slots.wanted.is_set()
    slots.give()
    await redis.idle.wait()
    stop.set()
    await running


async def test_where_it_cannot_wait_it_looks_less_and_less_often(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers: list[list[Claim] | Exception] = [[], RedisConnectionError("no")]
    redis, stop = Redis(*answers * 9, []), asyncio.Event()
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def noted(seconds: float) -> None:
        pauses.append(seconds)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", noted)

    assert await claimed(redis, Slots(2), stop) == []

    assert pauses[:3] == [0.05, 0.1, 0.2]
    assert pauses == sorted(pauses)
    assert pauses[-1] == 2.0
    assert len(pauses) == 9


async def test_a_wait_that_the_server_forgets_is_cut_short(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("worker.claimer._LATE_SECONDS", 0.01)
    monkeypatch.setattr("worker.claimer.WAIT_SECONDS", 0.01)
    redis, stop = Redis([]), asyncio.Event()
    patient = claimer(redis, Slots(1), stop, [])
    running = asyncio.create_task(patient.run())
    for _ in range(3):
        await cast(Any, patient)._bell.interrupted.acquire()
    stop.set()
    await running
    assert redis.waits >= 3


@pytest.mark.parametrize("status", ["running", "cancelling", "lost", None])
async def test_what_comes_when_little_of_its_lease_is_left_is_renewed_first(
    monkeypatch: pytest.MonkeyPatch, status: str | None
) -> None:
    # Sent at 100, heard of at 110.5; renewed at 111.
    times = iter([100.0, 110.5, 111.0])
    monkeypatch.setattr("worker.claimer.boottime", lambda: next(times, 200.0))
    redis, slots, stop = Redis([CLAIM], []), Slots(2), asyncio.Event()
    redis.status = status
    begun: list[tuple[Claim, float]] = []
    patient = claimer(redis, slots, stop, [])
    monkeypatch.setattr(patient, "_begin", lambda *what: begun.append(what))
    running = asyncio.create_task(patient.run())
    await redis.idle.wait()
    stop.set()
    await running

    good = status in ("running", "cancelling")
    assert begun == ([(CLAIM, 126.0)] if good else [])
    assert redis.renewed == [("j", "1:1")]
    assert await slots.take_free() == (1 if good else 2)


async def test_what_comes_in_time_is_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([100.0, 109.5])
    monkeypatch.setattr("worker.claimer.boottime", lambda: next(times, 200.0))
    redis = Redis([CLAIM], [])

    assert await claimed(redis, Slots(2), asyncio.Event()) == [CLAIM]

    assert redis.renewed == []
