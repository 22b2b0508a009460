"""A worker in this process, on a real Valkey, with a real warden."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from hub import keys
from hub.invariant import check
from hub.jobs import Job, NewJob
from hub.scripts import Scripts
from hub.settings import Settings
from hub.states import TERMINAL
from hub.store import Store
from hub.transitions import Transitions
from tests.conftest import wait_until
from tests.integration import worker_tasks
from tests.liveness import Mark
from worker.loading import _tasks_in
from worker.processes import Processes
from worker.runner import Options, Runner
from worker.tasks import Registry


class Shop:
    """A session, and the worker that serves it."""

    def __init__(self, store: Store, transitions: Transitions, runner: Runner) -> None:
        self.store = store
        self.transitions = transitions
        self.runner = runner

    async def queue(self, task: str, params: dict[str, Any] | None = None, **fields: Any) -> str:
        known = worker_tasks.__dict__.get(task)
        fields.setdefault("max_attempts", known.max_attempts if known else 1)
        new = NewJob(session_id="s1", task=task, params=msgspec.json.encode(params or {}), **fields)
        return (await self.store.enqueue(new)).job.id

    async def job(self, job_id: str) -> Job:
        job = await self.store.job(job_id)
        assert job is not None
        return job

    async def until(self, job_id: str, *statuses: str) -> Job:
        async def reached() -> bool:
            return (await self.job(job_id)).status in statuses

        await wait_until(reached, f"{job_id} is {' or '.join(statuses)}")
        return await self.job(job_id)

    async def run(self, task: str, params: dict[str, Any] | None = None, **fields: Any) -> Job:
        """Queues a job and returns it once it has ended."""
        return await self.until(await self.queue(task, params, **fields), *TERMINAL)

    async def answer(self, job_id: str, value: Any) -> None:
        """Answers the question that the job asks, or is about to ask."""
        asked = (await self.until(job_id, "input_required")).input
        assert asked is not None
        await self.transitions.answer(job_id, asked.id, msgspec.json.encode(value))

    async def log(self, job_id: str) -> list[tuple[str, str]]:
        return [(line.stream, line.text) for line in (await self.store.logs(job_id)).lines]

    async def events(self, job_id: str) -> list[dict[str, Any]]:
        history = await self.store.history("s1", b"0-0")
        events = [json.loads(entry.body) for entry in history.entries]
        return [event for event in events if event.get("job_id") == job_id]


def result(job: Job) -> Any:
    assert job.status == "completed", job.error
    return msgspec.json.decode(job.result)


@pytest.fixture
async def processes() -> AsyncIterator[Processes]:
    async with Processes.local() as local:
        yield local


@contextlib.asynccontextmanager
async def working(runner: Runner) -> AsyncIterator[asyncio.Task[int]]:
    """Runs a worker for a while, then has it give back what it still does."""
    task = asyncio.create_task(runner.run())
    try:
        yield task
    finally:
        runner.drain()
        runner.drain()
        async with asyncio.timeout(20):
            await task


def new_runner(
    settings: Settings, processes: Processes, registry: Registry | None = None, **options: Any
) -> Runner:
    def never(*said: object) -> None:
        raise AssertionError(f"the worker ended itself: {said}")

    options.setdefault("stop_grace", 1.0)
    return Runner(
        _tasks_in(worker_tasks) if registry is None else registry,
        settings,
        processes,
        Options(grace=0.0, name="tester", **options),
        speak=never,
    )


@pytest.fixture
async def shop(
    store: Store,
    transitions: Transitions,
    settings: Settings,
    processes: Processes,
    redis: Redis,
) -> AsyncIterator[Shop]:
    runner = new_runner(settings, processes)
    async with working(runner):
        yield Shop(store, transitions, runner)
    assert await check(redis) == []


async def test_typed_params_and_a_typed_result(shop: Shop) -> None:
    job = await shop.run("add", {"a": 2})

    assert result(job) == {"total": 3}
    assert job.worker == shop.runner.worker_id
    types = [event["type"] for event in await shop.events(job.id)]
    assert types == ["job.pending", "job.running", "job.completed"]


async def test_wrong_params_fail_for_good(shop: Shop) -> None:
    job = await shop.run("add", {"a": "two", "c": 1}, max_attempts=3)

    assert job.status == "failed"
    assert job.error is not None
    assert (job.error.code, job.attempt) == ("invalid_params", 1)
    assert "/a" in job.error.message
    assert "/c" in job.error.message


async def test_progress_and_log_are_whole_before_the_end(shop: Shop) -> None:
    job = await shop.run("talk", {"lines": 3})

    assert job.progress is not None
    assert job.progress.percent == 100
    assert await shop.log(job.id) == [
        *(("stdout", f"line {n}") for n in range(3)),
        ("stderr", "one"),
        ("stderr", "two"),
    ]
    last = (await shop.events(job.id))[-1]
    assert last["data"]["log_lines"] == 5
    assert last["data"]["progress"] == {"percent": 100}


async def test_progress_is_told_now_and_then_and_in_the_end(shop: Shop) -> None:
    job = await shop.run("hurry", {"times": 2_000})

    assert job.progress is not None
    assert (job.progress.current, job.progress.percent) == (2_000, 100)
    # Each time that it is told, its rev rises; besides there are pending, running, completed.
    assert job.rev < 200


async def test_a_flood_of_lines_is_held_up_and_not_lost(shop: Shop) -> None:
    job = await shop.run("flood", {"lines": 5_000})

    assert job.log_lines == 5_000
    last = (await shop.store.logs(job.id, after=4_999)).lines
    assert last[0].text.startswith("4999 ")


async def test_a_long_line_is_cut(shop: Shop) -> None:
    job = await shop.run("flood", {"lines": 1, "width": 20_000})

    [(_, text)] = await shop.log(job.id)
    assert len(text.encode()) <= 8 * 1024
    assert text.endswith("more bytes]")


async def test_a_command_and_its_lines(shop: Shop) -> None:
    job = await shop.run(
        "command",
        {"script": 'echo "$EXTRA"; env | grep -c ^JOBCAST_'},
    )

    assert job.status == "failed"
    assert job.error is not None
    assert job.error.type == "CommandFailed"
    assert "exit code 1" in job.error.message
    assert await shop.log(job.id) == [("stdout", "more"), ("stdout", "0")]
    unchecked = await shop.run("command", {"script": "exit 3", "check": False})
    assert result(unchecked) == {"lines": [], "returncode": 3}


async def test_a_command_that_fails_says_how(shop: Shop) -> None:
    assert result(await shop.run("caught")) == "3 why"


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
    job = await shop.run("impatient")

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


async def test_a_step_is_done_once(shop: Shop) -> None:
    job = await shop.run("stepped")

    assert result(job) == [5, 5]
    assert job.attempt == 3
    assert worker_tasks.runs.pop(job.id) == ["charge 1"]


async def test_a_retryable_error_and_its_traceback(shop: Shop) -> None:
    job = await shop.run("flaky")
    assert (result(job), job.attempt, job.error) == (2, 2, None)

    failed = await shop.run("broken")
    assert failed.status == "failed"
    assert failed.error is not None
    assert (failed.error.code, failed.error.type) == ("error", "ValueError")
    assert failed.error.message == "it broke"
    assert "worker_tasks.py" in (failed.error.traceback or "")


async def test_sys_exit_ends_the_job_only(shop: Shop) -> None:
    job = await shop.run("leaving")

    assert job.error is not None
    assert job.error.type == "SystemExit"
    assert result(await shop.run("add", {"a": 1})) == {"total": 2}


async def test_fail_and_retry_decide(shop: Shop) -> None:
    job = await shop.run("refused", max_attempts=3)
    assert job.error is not None
    assert (job.error.code, job.error.type, job.attempt) == ("permanent", "NotApproved", 1)

    assert result(await shop.run("busy")) == 2


async def test_a_timeout_is_tried_again(shop: Shop) -> None:
    job = await shop.run("late")

    assert job.status == "failed"
    assert job.error is not None
    assert (job.error.code, job.attempt) == ("timeout", 2)


async def test_a_jobs_own_timeout_counts(shop: Shop) -> None:
    job = await shop.run("forever", timeout=0.2)

    assert job.error is not None
    assert job.error.code == "timeout"
    assert "0.2 s" in job.error.message


async def test_cancel(shop: Shop, tmp_path: Path) -> None:
    cleaned = tmp_path / "cleaned"
    job_id = await shop.queue("forever", {"cleaned": str(cleaned)})
    await shop.until(job_id, "running")

    await shop.transitions.cancel(job_id)

    assert (await shop.until(job_id, *TERMINAL)).status == "cancelled"
    assert cleaned.read_text() == "cleaned"


async def test_cancel_while_asking(shop: Shop) -> None:
    job_id = await shop.queue("question")
    await shop.until(job_id, "input_required")

    await shop.transitions.cancel(job_id)

    assert (await shop.until(job_id, *TERMINAL)).status == "cancelled"


async def test_what_swallows_its_cancellation_is_cancelled(shop: Shop) -> None:
    job_id = await shop.queue("stubborn")
    await shop.until(job_id, "running")

    await shop.transitions.cancel(job_id)

    assert (await shop.until(job_id, *TERMINAL)).status == "cancelled"


async def test_cancelled_means_that_nothing_is_alive(shop: Shop) -> None:
    mark = Mark()
    job_id = await shop.queue("tree", {"mark": mark.text})
    await wait_until(lambda: _count(mark, 2), "the tree")

    await shop.transitions.cancel(job_id)

    assert (await shop.until(job_id, *TERMINAL)).status == "cancelled"
    assert mark.alive() == []


async def test_completed_means_that_nothing_is_alive(shop: Shop) -> None:
    mark = Mark()
    job = await shop.run("leaves", {"mark": mark.text})

    assert result(job) == "left"
    assert mark.alive() == []


async def _count(mark: Mark, count: int) -> bool:
    return len(mark.alive()) >= count


async def test_a_big_result(shop: Shop) -> None:
    assert len(result(await shop.run("big", {"size": 1_000_000}))) == 1_000_000

    job = await shop.run("big", {"size": 2_000_000}, max_attempts=3)
    assert job.error is not None
    assert (job.error.code, job.error.type) == ("permanent", "ResultTooLarge")
    assert (await shop.run("not_json")).error is not None


async def test_a_function_in_a_thread(shop: Shop) -> None:
    job_id = await shop.queue("sync")
    await shop.answer(job_id, "yes")

    job = await shop.until(job_id, *TERMINAL)
    assert result(job) == {
        "lines": ["hi"],
        "answer": "yes",
        "kept": [1],
        "main": False,
        "pid": os.getpid(),
    }
    assert await shop.log(job_id) == [("stdout", "from a thread"), ("stdout", "hi")]


@pytest.mark.parametrize("task", ["sync_forever", "sync_polite", "sync_waiting"])
async def test_cancel_of_a_function_in_a_thread(shop: Shop, task: str) -> None:
    job_id = await shop.queue(task)
    await shop.until(job_id, "input_required" if task == "sync_waiting" else "running")

    await shop.transitions.cancel(job_id)

    assert (await shop.until(job_id, *TERMINAL)).status == "cancelled"


async def test_a_function_in_a_process(shop: Shop) -> None:
    job_id = await shop.queue("isolated", {"n": 4})
    await shop.answer(job_id, "no")

    got = result(await shop.until(job_id, *TERMINAL))
    assert got.pop("pid") != os.getpid()
    assert got == {"lines": ["hi"], "answer": "no", "kept": 8, "secret": False, "main": True}
    assert sorted(await shop.log(job_id)) == [
        ("stdout", "hi"),
        ("stdout", "logged"),
        ("stdout", "printed"),
    ]


async def test_a_coroutine_in_a_process(shop: Shop) -> None:
    assert result(await shop.run("isolated_coroutine")) != os.getpid()
    died, raised, failed = [
        (await shop.run("isolated_coroutine", {"fail": how})).error
        for how in ("exit", "raise", "fail")
    ]
    assert died is not None
    assert raised is not None
    assert failed is not None
    assert "status 7" in died.message
    assert (raised.type, raised.message) == ("ValueError", "in a process")
    assert failed.code == "permanent"


async def test_cancel_of_a_process(shop: Shop, tmp_path: Path) -> None:
    cleaned = tmp_path / "cleaned"
    job_id = await shop.queue("isolated_busy", {"cleaned": str(cleaned)})

    async def started() -> bool:
        return bool(await shop.log(job_id))

    await wait_until(started, "the process runs")
    pid = int((await shop.log(job_id))[0][1].split()[1])

    await shop.transitions.cancel(job_id)

    assert (await shop.until(job_id, *TERMINAL)).status == "cancelled"
    assert cleaned.read_text() == "cleaned"
    assert not Path(f"/proc/{pid}").exists()


async def test_gathering_children(shop: Shop) -> None:
    job = await shop.run("both")

    assert result(job) == [{"total": 2}, {"total": 4}]
    children = [
        each for each in (await shop.store.jobs(session_id="s1")).jobs if each.parent_id == job.id
    ]
    assert [child.task for child in children] == ["add", "add"]
    assert result(await shop.run("both_isolated")) == [{"total": 2}]
    assert result(await shop.run("one_fails")) == "refused failed permanent not approved"


async def test_gathering_again_does_what_failed_again(shop: Shop) -> None:
    job = await shop.run("gathers_again")

    assert job.attempt == 2
    counted, lucky = result(job)
    assert lucky == 2
    children = [
        each for each in (await shop.store.jobs(session_id="s1")).jobs if each.parent_id == job.id
    ]
    assert [child.id for child in children if child.task == "counted"] == [counted]
    assert sorted(child.status for child in children) == ["completed", "completed", "failed"]


async def test_cancelling_a_parent_cancels_its_children(shop: Shop) -> None:
    parent = await shop.queue("waits_for_forever")

    async def running() -> Job | None:
        jobs = (await shop.store.jobs(session_id="s1")).jobs
        return next((job for job in jobs if job.parent_id and job.status == "running"), None)

    await wait_until(lambda: _is_there(running()), "the child runs")
    child = await running()
    assert child is not None

    await shop.transitions.cancel(parent)

    assert (await shop.until(parent, *TERMINAL)).status == "cancelled"
    assert (await shop.until(child.id, *TERMINAL)).status == "cancelled"


async def _is_there(found: Awaitable[Job | None]) -> bool:
    return await found is not None


async def test_gathering_frees_the_slot(
    store: Store,
    transitions: Transitions,
    settings: Settings,
    processes: Processes,
    redis: Redis,
) -> None:
    runner = new_runner(settings, processes, concurrency=1)
    async with working(runner):
        assert result(await Shop(store, transitions, runner).run("both")) == [
            {"total": 2},
            {"total": 4},
        ]
    assert await check(redis) == []


async def test_an_unknown_task_is_parked_until_a_worker_has_it(
    shop: Shop, settings: Settings, processes: Processes
) -> None:
    job_id = await shop.queue("later")

    async def parked() -> bool:
        return await shop.store.redis.zscore(keys.parked("task:later"), job_id) is not None

    await wait_until(parked, "the job is parked")
    registry = Registry()

    async def later() -> int:
        return 1

    from worker.tasks import task

    registry.add(task(later))
    async with working(new_runner(settings, processes, registry)):
        assert result(await shop.until(job_id, *TERMINAL)) == 1


async def test_a_worker_is_listed_and_says_goodbye(shop: Shop, redis: Any) -> None:
    async def listed() -> bool:
        return await redis.zscore(keys.WORKERS, shop.runner.worker_id) is not None

    await wait_until(listed, "the worker is listed")
    facts = json.loads(await redis.hget(keys.worker(shop.runner.worker_id), "facts"))
    assert facts["name"] == "tester"
    assert facts["pid"] == os.getpid()
    tasks = await shop.store.tasks()
    assert tasks["add"]["params"]["required"] == ["a"]
    shop.runner.drain()

    async def gone() -> bool:
        return not await listed()

    await wait_until(gone, "the worker said goodbye")


async def test_draining_gives_back_what_does_not_finish(shop: Shop) -> None:
    job_id = await shop.queue("forever")
    await shop.until(job_id, "running")

    shop.runner.drain()

    job = await shop.until(job_id, "pending")
    assert (job.released, job.lost, job.attempt) == (1, 0, 1)


async def test_many_jobs(shop: Shop) -> None:
    ids = [await shop.queue("add", {"a": n}) for n in range(200)]

    for n, job_id in enumerate(ids):
        assert result(await shop.until(job_id, *TERMINAL)) == {"total": n + 1}


async def test_the_idempotency_key_is_the_jobs(shop: Shop) -> None:
    job = await shop.run("idempotent")
    assert result(job) == job.id


async def test_scripts_are_loaded_again_after_a_flush(
    shop: Shop, redis: Any, scripts: Scripts
) -> None:
    await redis.script_flush()
    assert result(await shop.run("add", {"a": 1})) == {"total": 2}
