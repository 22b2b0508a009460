"""A session, and a worker in this process that serves it, on a real Valkey with a real warden."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from hub.jobs import Job, NewJob
from hub.settings import Settings
from hub.states import TERMINAL
from hub.store import Store
from hub.transitions import Transitions
from tests.conftest import wait_until
from tests.integration import worker_tasks
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


@contextlib.asynccontextmanager
async def working(runner: Runner) -> AsyncIterator[asyncio.Task[int]]:
    """Runs a worker for a while, then has it give back what it still does."""
    task = asyncio.create_task(runner.run())
    try:
        yield task
    finally:
        runner.drain()
        runner.drain()
        async with asyncio.timeout(60):
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
