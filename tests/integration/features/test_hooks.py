"""What a worker does when it starts and stops, and that it starts anew when a source changes."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from hub.jobs import NewJob
from hub.settings import Settings
from hub.states import TERMINAL
from hub.store import Store
from hub.transitions import Transitions
from tests.conftest import wait_until
from tests.integration.worker.shop import Shop, new_runner, result, working
from worker import Context, on_start, on_stop, task
from worker.hooks import Hook, started, stopped
from worker.loading import _tasks_in
from worker.processes import Processes
from worker.tasks import Registry

ROOT = Path(__file__).parents[3]


async def test_hooks_enclose_the_jobs(
    store: Store, transitions: Transitions, settings: Settings, processes: Processes
) -> None:
    seen: list[str] = []

    @on_start
    async def connect() -> None:
        seen.append("connected")

    @on_start
    def load() -> None:
        seen.append("loaded")

    @on_stop
    def close() -> None:
        seen.append("closed")

    @on_stop
    async def flush() -> None:
        seen.append("flushed")

    @task
    async def works(ctx: Context) -> None:
        seen.append("worked")

    named = {"a": connect, "b": load, "c": close, "d": flush, "e": works, "f": flush}
    module = type("module", (), named)
    registry = Registry()
    registry.update(_tasks_in(module))
    runner = new_runner(settings, processes, registry)
    async with working(runner):
        await Shop(store, transitions, runner).run("works")
    assert seen == ["connected", "loaded", "worked", "flushed", "closed"]


async def test_a_worker_whose_start_fails_takes_no_jobs(
    store: Store, settings: Settings, processes: Processes
) -> None:
    @on_start
    async def connect() -> None:
        raise ConnectionRefusedError("no database")

    registry = Registry()
    registry.hooks.append(connect)
    runner = new_runner(settings, processes, registry)
    with pytest.raises(ConnectionRefusedError, match="no database"):
        await runner.run()
    assert await store.tasks() == {}


async def test_a_hook_of_the_end_that_fails_or_hangs_is_left(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    async def fails() -> None:
        raise ValueError("already closed")

    async def hangs() -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr("worker.hooks.STOP_SECONDS", 0.05)
    hooks: list[Hook] = [on_stop(hangs), on_stop(lambda: seen.append("x")), on_stop(fails)]
    with caplog.at_level(logging.WARNING):
        await stopped(hooks)
        await started(hooks)
    assert seen == ["x"]
    assert "already closed" in caplog.text
    assert "longer than" in caplog.text


MODULE = """
from worker import task

@task
async def answer() -> int:
    return {answer}
"""


def serve(folder: Path, settings: Settings, **options: Any) -> subprocess.Popen[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-P", "-m", "worker.serve", "answers", "--reload", "--no-agent"]
    command += ["--redis-url", settings.redis_url, "--grace", "0"]
    return subprocess.Popen(command, cwd=folder, env=env, text=True, **options)


class Reloading:
    """`jobcast worker --reload` on a module that the test writes."""

    def __init__(self, folder: Path, settings: Settings, store: Store) -> None:
        self.module = folder / "answers.py"
        self.store = store
        self.write("1")
        self.process = serve(folder, settings)

    def write(self, answer: str) -> None:
        self.module.write_text(MODULE.format(answer=answer))

    async def says(self, answer: int) -> None:
        async def said() -> bool:
            new = NewJob(session_id="s1", task="answer")
            job_id = (await self.store.enqueue(new)).job.id

            async def ended() -> bool:
                job = await self.store.job(job_id)
                return job is not None and job.status in TERMINAL

            await wait_until(ended, "a worker answers")
            job = await self.store.job(job_id)
            assert job is not None
            return bool(msgspec.json.decode(job.result) == answer)

        await wait_until(said, f"the worker says {answer}", timeout=40)


@pytest.fixture
async def reloading(
    tmp_path: Path, settings: Settings, store: Store, redis: Redis
) -> AsyncIterator[Reloading]:
    reloading = Reloading(tmp_path, settings, store)
    yield reloading
    reloading.process.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(reloading.process.wait, 20) == 0


@pytest.mark.slow
async def test_a_change_of_the_source_starts_the_worker_anew(reloading: Reloading) -> None:
    await reloading.says(1)
    reloading.write("2")
    await reloading.says(2)
    reloading.write("3 +")  # waits for the source to be mended
    reloading.write("4")
    await reloading.says(4)


@pytest.mark.slow
async def test_a_source_that_cannot_be_read_is_waited_for(
    tmp_path: Path, settings: Settings, store: Store
) -> None:
    (tmp_path / "answers.py").write_text("def broken(:")
    process = serve(tmp_path, settings, stderr=subprocess.PIPE)
    assert process.stderr is not None
    lines: list[str] = []
    while "SyntaxError" not in "".join(lines):
        lines.append(await asyncio.to_thread(process.stderr.readline))
        assert lines[-1], lines
    (tmp_path / "answers.py").write_text(MODULE.format(answer="5"))
    job_id = (await store.enqueue(NewJob(session_id="s1", task="answer"))).job.id

    async def ended() -> bool:
        job = await store.job(job_id)
        return job is not None and job.status in TERMINAL

    await wait_until(ended, "the mended worker answers", timeout=40)
    job = await store.job(job_id)
    assert job is not None
    assert result(job) == 5
    process.send_signal(signal.SIGTERM)
    await asyncio.to_thread(process.wait, 20)
    process.stderr.close()
