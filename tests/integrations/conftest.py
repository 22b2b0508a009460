"""Another queue's worker beside Jobcast: two servers, so that either can be away."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from hub.client.direct import plain
from hub.connection import connect
from hub.invariant import check
from hub.jobs import Job
from hub.scripts import Scripts
from hub.settings import Settings
from hub.store import Store
from hub.tick import Ticker
from hub.transitions import Transitions
from tests.conftest import Server
from tests.conftest import wait_until as until_true
from tests.hub_process import environment
from tests.liveness import wait_until

ROOT = Path(__file__).parents[2]
SESSION = "s1"


@dataclass
class Process:
    """A program of the test's, in a process group of its own. `log` is what it has printed."""

    process: asyncio.subprocess.Process
    path: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def log(self) -> str:
        return self.path.read_text(errors="replace")

    async def until_said(self, words: str) -> None:
        """Wait until it has printed these words; fails with what it printed instead."""
        try:
            await wait_until(
                lambda: words in self.log or self.process.returncode is not None, seconds=60
            )
        except TimeoutError:
            raise AssertionError(f"never said {words!r}:\n{self.log}") from None
        assert words in self.log, self.log

    async def stop(self, sign: signal.Signals = signal.SIGTERM, *, group: bool = False) -> None:
        """Signals it (or all that it started), and waits for its end."""
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                if group:
                    os.killpg(self.pid, sign)
                else:
                    self.process.send_signal(sign)
            async with asyncio.timeout(30):
                await self.process.wait()


@dataclass
class Beside:
    """Jobcast's Redis at `jobcast` (which a test may stop), the other queue's at `broker`."""

    jobcast: Server
    broker: Server
    settings: Settings
    folder: Path
    redis: Redis
    store: Store
    transitions: Transitions
    processes: list[Process] = field(default_factory=list)

    @property
    def env(self) -> dict[str, str]:
        """The environment of the other queue's processes."""
        return environment(
            JOBCAST_REDIS_URL=self.settings.redis_url,
            BROKER_URL=self.broker.url,
            TEST_FOLDER=str(self.folder),
            PYTHONPATH=str(ROOT),
            PYTHONUNBUFFERED="1",
        )

    async def start(self, *argv: str, **more: str) -> Process:
        """Runs a Python program (`-m`, `rq`, …) until the end of the test."""
        path = self.folder / f"process{len(self.processes)}.log"
        with path.open("wb") as out:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, *argv),
                stdout=out,
                stderr=asyncio.subprocess.STDOUT,
                stdin=asyncio.subprocess.DEVNULL,
                env={**self.env, **more},
                cwd=ROOT,
                start_new_session=True,
            )
        self.processes.append(Process(process, path))
        return self.processes[-1]

    async def events(self, session_id: str = SESSION) -> list[dict[str, Any]]:
        """The session's lifecycle events, decoded."""
        history = await self.store.history(session_id, b"0-0")
        return [msgspec.json.decode(event.body) for event in history.entries]

    async def first(self, status: str) -> dict[str, Any]:
        """What the session's first event of this status says."""
        events = await self.events()
        return next(event["data"] for event in events if event["type"] == f"job.{status}")

    async def types(self, session_id: str = SESSION) -> list[str]:
        """The statuses that the session's jobs went through, in order. A worker may be faster than
        the word of who queued the job; then its being pending is added here."""
        found: list[str] = []
        for event in await self.events(session_id):
            if event["type"] == "job.running" and event["rev"] == 1:
                found.append("pending")
            found.append(event["type"].removeprefix("job."))
        return found

    async def jobs(self, session_id: str = SESSION) -> list[Job]:
        """The session's jobs, oldest first; JSON parts are decoded."""
        page = await self.store.jobs(session_id=session_id)
        whole = await self.store.jobs_by_id([job.id for job in reversed(page.jobs)])
        return [plain(job) for job in whole]

    async def until_types(self, *expected: str, session_id: str = SESSION) -> list[Job]:
        """Wait until the session has gone through exactly these statuses; its jobs then."""
        await self.until(lambda types: types[: len(expected)] == [*expected], expected, session_id)
        assert await self.types(session_id) == [*expected]
        return await self.jobs(session_id)

    async def until_status(self, status: str, session_id: str = SESSION) -> Job:
        """Wait until the session's last event is of this status; its newest job then."""
        await self.until(lambda types: types[-1:] == [status], status, session_id)
        return (await self.jobs(session_id))[-1]

    async def until(
        self, condition: Callable[[list[str]], bool], what: object, session_id: str = SESSION
    ) -> None:
        """Wait until the statuses that the session went through fulfil a condition."""
        types: list[str] = []

        async def fulfilled() -> bool:
            nonlocal types
            types = await self.types(session_id)
            return condition(types)

        with contextlib.suppress(AssertionError, TimeoutError):
            await until_true(fulfilled, str(what), timeout=40)
        logs = "\n".join(process.log for process in self.processes)
        assert condition(types), f"{types}, not {what}\n{logs}"

    async def lines(self, job_id: str) -> list[str]:
        """A job's log."""
        return [line.text for line in (await self.store.logs(job_id)).lines]


@pytest.fixture
async def beside(valkey: Server, own_valkey: Server, tmp_path: Path) -> AsyncIterator[Beside]:
    """Jobcast with a ticking housekeeping, and an empty broker. Ends every process that the test
    started, and then checks that nothing in Jobcast's Redis is amiss."""
    settings = Settings(redis_url=own_valkey.url)
    redis, scripts = connect(own_valkey.url), Scripts(settings)
    found = Beside(
        own_valkey,
        valkey,
        settings,
        tmp_path,
        redis,
        Store(redis, scripts),
        Transitions(redis, scripts),
    )
    async with asyncio.TaskGroup() as group:
        ticking = group.create_task(Ticker(redis, scripts).run())
        try:
            yield found
        finally:
            for process in found.processes:
                await process.stop(signal.SIGKILL, group=True)
            ticking.cancel()
    assert await check(redis) == []
    await redis.aclose()
