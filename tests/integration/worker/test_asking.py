"""Jobs that ask a person."""

from __future__ import annotations

from redis.asyncio import Redis

from hub import keys
from hub.invariant import check
from hub.settings import Settings
from hub.states import TERMINAL
from hub.store import Store
from hub.transitions import Transitions
from tests.conftest import wait_until
from tests.integration import worker_tasks
from tests.integration.worker.shop import Shop, new_runner, result, working
from worker.processes import Processes


async def test_asking_and_answering(shop: Shop) -> None:
    job_id = await shop.queue("question")
    asked = (await shop.until(job_id, "input_required")).input
    assert asked is not None
    assert (asked.kind, asked.prompt, asked.options) == ("question", "Deploy?", ["yes", "no"])

    await shop.answer(job_id, "no")

    assert result(await shop.until(job_id, *TERMINAL)) == "no"
    types = [event["type"] for event in await shop.events(job_id)]
    assert types == [
        "job.pending",
        "job.running",
        "job.input_required",
        "job.running",
        "job.completed",
    ]


async def test_two_questions_are_two(shop: Shop) -> None:
    job_id = await shop.queue("questions")
    await shop.answer(job_id, 1)
    await shop.until(job_id, "input_required")

    async def other() -> bool:
        asked = (await shop.job(job_id)).input
        return asked is not None and asked.id != "which"

    await wait_until(other, "the second question")
    await shop.answer(job_id, [2])

    assert result(await shop.until(job_id, *TERMINAL)) == [1, [2]]


async def test_a_timeout_stands_still_while_a_person_is_asked(shop: Shop) -> None:
    job_id = await shop.queue("slow_question")
    await shop.until(job_id, "input_required")
    # A job that is queued after the question, and takes longer than its timeout, bears witness.
    late = await shop.run("late")
    assert late.status == "failed"

    await shop.answer(job_id, "yes")

    assert result(await shop.until(job_id, *TERMINAL)) == "yes"


async def test_a_question_can_be_taken_back(shop: Shop) -> None:
    job_id = await shop.queue("impatient")
    await shop.until(job_id, "input_required")
    worker_tasks.bells.pop(job_id)()
    job = await shop.until(job_id, *TERMINAL)

    assert result(job) == "nobody"
    types = [event["type"] for event in await shop.events(job.id)]
    assert types[-3:] == ["job.input_required", "job.running", "job.completed"]


async def test_asking_frees_the_slot(
    store: Store,
    transitions: Transitions,
    settings: Settings,
    processes: Processes,
    redis: Redis,
) -> None:
    runner = new_runner(settings, processes, concurrency=1)
    shop = Shop(store, transitions, runner)
    async with working(runner):
        asking = await shop.queue("question")
        await shop.until(asking, "input_required")

        assert result(await shop.run("add", {"a": 1})) == {"total": 2}

        await shop.answer(asking, "yes")
        assert result(await shop.until(asking, *TERMINAL)) == "yes"
        assert result(await shop.run("add", {"a": 2})) == {"total": 3}
    assert await check(redis) == []


async def test_an_answer_is_kept_for_a_rerun(
    shop: Shop, settings: Settings, processes: Processes
) -> None:
    job_id = await shop.queue("question")
    await shop.until(job_id, "input_required")
    # Its worker goes: the job waits without one, and a rerun gets the answer at once.
    shop.runner.drain()

    async def released() -> bool:
        return not await shop.store.redis.hexists(keys.job(job_id), "token")

    await wait_until(released, "the job was given back")
    assert (await shop.job(job_id)).status == "input_required"
    await shop.answer(job_id, "yes")
    async with working(new_runner(settings, processes)):
        assert result(await shop.until(job_id, *TERMINAL)) == "yes"
    assert worker_tasks.runs.pop(job_id) == ["asked", "asked"]


async def test_cancel_while_asking(shop: Shop) -> None:
    job_id = await shop.queue("question")
    await shop.until(job_id, "input_required")

    await shop.transitions.cancel(job_id)

    assert (await shop.until(job_id, *TERMINAL)).status == "cancelled"
