"""Slots of a worker: claims take what is free, jobs lend theirs while they ask."""

from __future__ import annotations

import asyncio

from worker.slots import Slots


async def is_waiting(task: asyncio.Task[object]) -> bool:
    """Whether it still waits after everything that can run has run."""
    for _ in range(5):
        await asyncio.sleep(0)
    return not task.done()


async def test_all_free_slots_are_taken_at_once() -> None:
    slots = Slots(3)
    assert await slots.take_free() == 3
    taking = asyncio.create_task(slots.take_free())
    assert await is_waiting(taking)

    slots.give(2)

    assert await taking == 2


async def test_a_job_that_comes_back_goes_before_any_claim() -> None:
    slots = Slots(1)
    await slots.take_free()
    assert slots.lend()
    assert await slots.take_free() == 1
    back = asyncio.create_task(slots.take_back())
    claim = asyncio.create_task(slots.take_free())
    assert await is_waiting(back)

    slots.give()

    await back
    assert await is_waiting(claim)
    slots.give()
    assert await claim == 1


async def test_a_return_that_is_cancelled_leaves_its_slot_to_others() -> None:
    slots = Slots(1)
    await slots.take_free()
    slots.lend()
    await slots.take_free()
    back = asyncio.create_task(slots.take_back())
    assert await is_waiting(back)
    # The slot comes in the same turn of the loop as the cancellation.
    slots.give()
    back.cancel()
    await asyncio.wait({back})

    assert await slots.take_free() == 1
    slots.forget_lent()


async def test_lending_is_bounded() -> None:
    slots = Slots(3, most_lent=1)
    await slots.take_free()
    assert slots.lend()
    assert not slots.lend()
    slots.forget_lent()
    assert slots.lend()
