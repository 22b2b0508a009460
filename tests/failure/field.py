"""Real workers on a Valkey of their own, which tests kill, freeze, cut off and tell to stop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
from redis.asyncio import Redis

from hub.connection import connect
from hub.invariant import check
from hub.jobs import Job, NewJob
from hub.scripts import Scripts
from hub.settings import Settings
from hub.store import Store
from hub.transitions import Transitions
from tests.conftest import Server, wait_until
from tests.liveness import Mark
from worker.proctree import read_proc

LEASE = 3.0


class Worker:
    """A worker as an operator starts it. `warden` is its process, `pid` that of the real worker."""

    def __init__(self, warden: asyncio.subprocess.Process, log: Path) -> None:
        self.warden = warden
        self.log = log
        self.pid = 0

    async def until_serving(self, times: int = 1) -> None:
        """Waits until it has said `times` times that it serves, and notes who serves now."""

        async def said() -> bool:
            return self.log.read_text().count(" serves ") >= times

        await wait_until(said, f"the worker serves; it said:\n{self.log.read_text()}")
        [minder] = _children(self.warden.pid)
        [self.pid] = _children(minder)

    async def end(self) -> int:
        async with asyncio.timeout(30):
            return await self.warden.wait()


def _children(parent: int) -> list[int]:
    pids = (int(path.name) for path in Path("/proc").glob("[0-9]*"))
    found = ((pid, read_proc(pid)) for pid in pids)
    return [pid for pid, proc in found if proc and proc.alive and proc.parent == parent]


class Field:
    """A Valkey of its own, and the workers on it."""

    def __init__(
        self, server: Server, redis: Redis, folder: Path, url: str, lease: float = LEASE
    ) -> None:
        settings = Settings(redis_url=server.url, lease=lease)
        self.lease = lease
        self.server = server
        self.redis: Any = redis
        self.store = Store(redis, Scripts(settings))
        self.transitions = Transitions(redis, Scripts(settings))
        self.notes = folder / "notes"
        self.url = url
        self._folder = folder
        self.workers: list[Worker] = []

    async def worker(
        self,
        *options: str,
        url: str | None = None,
        tasks: str = "tests.failure.worker_under_fire",
    ) -> Worker:
        log = self._folder / f"worker-{len(self.workers)}.log"
        with log.open("w") as output:
            warden = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "worker.serve", "--lease", f"{self.lease:g}"),
                "--no-agent",
                *options,
                tasks,
                env={**os.environ, "JOBCAST_REDIS_URL": url or self.url},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        worker = Worker(warden, log)
        self.workers.append(worker)
        await worker.until_serving()
        return worker

    async def queue(self, task: str, timeout: float | None = None, **params: Any) -> str:
        params.setdefault("path", str(self.notes))
        new = NewJob(
            session_id="s1",
            task=task,
            params=msgspec.json.encode(params),
            max_attempts={"swallows": 2, "second_try": 3}.get(task, 1),
            timeout=timeout,
        )
        return (await self.store.enqueue(new)).job.id

    async def job(self, job_id: str) -> Job:
        job = await self.store.job(job_id)
        assert job is not None
        return job

    async def until(self, job_id: str, *statuses: str) -> Job:
        async def reached() -> bool:
            return (await self.job(job_id)).status in statuses

        await wait_until(reached, f"{job_id} is {' or '.join(statuses)}", timeout=60)
        return await self.job(job_id)

    async def until_noted(self, word: str, times: int = 1) -> None:
        async def noted() -> bool:
            return self.words().count(word) >= times

        await wait_until(noted, f"{word} is noted {times} times", timeout=60)

    def words(self) -> list[str]:
        lines = self.notes.read_text().splitlines() if self.notes.exists() else []
        return [line.split()[0] for line in lines]

    async def close(self) -> None:
        for worker in self.workers:
            if worker.warden.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(worker.pid, signal.SIGCONT)
                worker.warden.kill()
                await worker.warden.wait()
            print(worker.log.read_text())
        assert await check(self.redis) == []


@contextlib.asynccontextmanager
async def a_field(server: Server, folder: Path, lease: float) -> AsyncIterator[Field]:
    redis = connect(server.url)
    field = Field(server, redis, folder, server.url, lease)
    try:
        yield field
    finally:
        await field.close()
        await redis.aclose()


async def events(field: Field, job_id: str) -> list[tuple[str, float]]:
    """A job's lifecycle as it was told: statuses and Redis's times, in seconds."""
    history = await field.store.history("s1", b"0-0")
    told = [msgspec.json.decode(entry.body) for entry in history.entries]
    return [
        (event["type"].removeprefix("job."), datetime.fromisoformat(event["time"]).timestamp())
        for event in told
        if event.get("job_id") == job_id
    ]


async def statuses(field: Field, job_id: str) -> list[str]:
    return [status for status, _ in await events(field, job_id)]


async def redis_time(field: Field) -> float:
    seconds, micros = await field.redis.time()
    return float(seconds + micros / 1e6)


async def has_two(mark: Mark) -> bool:
    return len(mark.alive()) >= 2
