"""A subscriber that anybody could write: it keeps its cursor, comes back with it, and checks that
what it is told is whole, in order and told once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from types import TracebackType
from typing import Any

from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

TERMINAL = {"job.completed", "job.failed", "job.cancelled"}


class Subscriber:
    """`async with Subscriber(url, session_id, token)`. `events` are the lifecycle events in the
    order of arrival; `jobs` what a client's reducer makes of them; `hellos` every hello."""

    def __init__(self, url: str, session_id: str, token: str) -> None:
        self._url = f"ws{url.removeprefix('http')}/ws/{session_id}"
        self._token = token
        self.cursor = ""
        self.events: list[dict[str, Any]] = []
        self.jobs: dict[str, dict[str, Any]] = {}
        self.hellos: list[dict[str, Any]] = []
        self.heartbeats = 0
        self._changed = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None
        self.connected = asyncio.Event()

    async def __aenter__(self) -> Subscriber:
        self._task = asyncio.create_task(self._run())
        await self.until(lambda: bool(self.hellos), "a first hello")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        retry = asyncio.Event()
        while True:
            after = f"?after={self.cursor}" if self.cursor else ""
            try:
                async with connect(
                    self._url + after,
                    additional_headers={"Authorization": f"Bearer {self._token}"},
                    open_timeout=30,
                ) as socket:
                    self.connected.set()
                    async for frame in socket:
                        await self._take(json.loads(frame))
            except (OSError, WebSocketException, TimeoutError):
                pass
            self.connected.clear()
            # Nothing announces that a server is back: wait a moment, as every client must.
            try:
                async with asyncio.timeout(0.2):
                    await retry.wait()
            except TimeoutError:
                continue

    async def _take(self, frame: dict[str, Any]) -> None:
        kind = frame["type"]
        if kind == "hello":
            self.hellos.append(frame)
            if not frame["resumed"]:
                self.jobs = {job["id"]: job for job in frame["jobs"]}
            for job in frame["jobs"]:
                if job["rev"] > self.jobs.get(job["id"], {"rev": 0})["rev"]:
                    self.jobs[job["id"]] = job
            self.cursor = frame["cursor"]
        elif kind == "heartbeat":
            self.heartbeats += 1
        elif "id" in frame:
            self.cursor = frame["id"]
            self.events.append(frame)
        if "rev" in frame and "job_id" in frame:
            job = self.jobs.setdefault(frame["job_id"], {"rev": 0})
            if frame["rev"] > job["rev"]:
                job.update(frame["data"], rev=frame["rev"])
        async with self._changed:
            self._changed.notify_all()

    async def until(self, condition: Callable[[], bool], what: str, timeout: float = 60.0) -> None:
        """Returns once `condition` holds; it is looked at after every frame."""
        try:
            async with asyncio.timeout(timeout), self._changed:
                await self._changed.wait_for(condition)
        except TimeoutError:
            raise AssertionError(f"never came: {what}\n{self.summary()}") from None

    async def another_hello(self) -> None:
        """Returns once it has come back."""
        before = len(self.hellos)
        await self.until(lambda: len(self.hellos) > before, "another hello")

    async def ended(self, job_ids: list[str], timeout: float = 60.0) -> None:
        """Returns once all these jobs have been told to have ended."""
        wanted = set(job_ids)
        await self.until(
            lambda: wanted <= {e["job_id"] for e in self.events if e["type"] in TERMINAL},
            f"the end of {len(wanted)} jobs",
            timeout,
        )

    def summary(self) -> str:
        """What arrived, for a failing test."""
        return "\n".join(f"{e['id']} {e['type']} {e.get('job_id')}" for e in self.events[-40:])

    def check(self) -> None:
        """Every lifecycle event once and in order, each job with one beginning and one end, and
        no resume that had to become a snapshot after the first hello."""
        numbers = [int(event["id"].split("-")[0]) for event in self.events]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), self.summary()
        assert all(hello["resumed"] for hello in self.hellos[1:]), self.hellos
        revs: dict[str, int] = {}
        over: set[str] = set()
        for event in self.events:
            job_id = event.get("job_id")
            if job_id is None or event["type"].startswith("message."):
                continue
            assert job_id not in over, f"{job_id} had ended\n{self.summary()}"
            assert event["rev"] > revs.get(job_id, 0)
            revs[job_id] = event["rev"]
            if event["type"] in TERMINAL:
                over.add(job_id)
