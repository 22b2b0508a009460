"""Whatever is killed, cut or restarted: no lifecycle event is lost or doubled at the client."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.conftest import wait_until
from tests.proxy import Proxy
from tests.running_hub import http_client
from tests.subscriber import Subscriber
from worker.stack import Stack

TASKS = "tests.failure.tasks_under_fire"


class Fire:
    """A whole Jobcast, and what a test does to it."""

    def __init__(self, stack: Stack, client: httpx2.AsyncClient, token: str) -> None:
        self.stack = stack
        self.client = client
        self.token = token

    async def queue(self, task: str, count: int = 1, **params: Any) -> list[str]:
        ids = []
        for _ in range(count):
            answer = await self.client.post(
                "/jobs", json={"task": task, "session_id": "chat:fire", "params": params}
            )
            assert answer.status_code == 202, answer.text
            ids.append(answer.json()["job_id"])
        return ids

    async def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        """Kills a process and returns once its successor runs."""
        pid = self.stack.pids[name]
        os.kill(pid, number)

        async def back() -> bool:
            return self.stack.pids.get(name) not in (None, pid)

        await wait_until(back, f"a new {name}")

    async def job(self, job_id: str) -> dict[str, Any]:
        answer = await self.client.get(f"/jobs/{job_id}")
        assert answer.status_code == 200, answer.text
        job: dict[str, Any] = answer.json()
        return job


@pytest.fixture
async def fire(tmp_path: Path) -> AsyncIterator[Fire]:
    lines: list[str] = []
    env = {**os.environ, "JOBCAST_LEASE": "3", "JOBCAST_WS_HEARTBEAT": "1"}
    stack = Stack(
        tmp_path / "data",
        tasks=TASKS,
        env=env,
        on_line=lambda name, line: lines.append(f"{name}: {line}"),
    )
    async with stack:
        headers = {"Authorization": f"Bearer {stack.api_key}"}
        async with http_client(stack.url, headers) as client:
            answer = await client.post("/tokens", json={"sub": "t", "sessions": ["chat:*"]})
            yield Fire(stack, client, answer.json()["token"])
    print("\n".join(lines[-200:]))


async def test_a_hub_that_is_killed(fire: Fire) -> None:
    async with Subscriber(fire.stack.url, "chat:fire", fire.token) as subscriber:
        ids = await fire.queue("steps", 4, steps=20) + await fire.queue("second_time_lucky", 3)
        await subscriber.until(lambda: len(subscriber.events) > 5, "the first events")
        await fire.kill("hub")
        await subscriber.ended(ids)
        subscriber.check()
        assert len(subscriber.hellos) >= 2
        for job_id in ids:
            assert subscriber.jobs[job_id]["status"] == "completed"
            assert subscriber.jobs[job_id]["lost"] == 0


@pytest.mark.slow
async def test_a_hub_that_is_asked_to_stop_says_goodbye_and_loses_nothing(fire: Fire) -> None:
    async with Subscriber(fire.stack.url, "chat:fire", fire.token) as subscriber:
        ids = await fire.queue("steps", 4, steps=20)
        await subscriber.until(lambda: len(subscriber.events) > 4, "the first events")
        await fire.kill("hub", signal.SIGTERM)
        await subscriber.ended(ids)
        subscriber.check()


@pytest.mark.slow
async def test_a_valkey_that_is_killed(fire: Fire) -> None:
    async with Subscriber(fire.stack.url, "chat:fire", fire.token) as subscriber:
        ids = await fire.queue("steps", 4, steps=20) + await fire.queue("quick", 10)
        await subscriber.until(lambda: len(subscriber.events) > 8, "the first events")
        await fire.kill("valkey")
        await subscriber.ended(ids)
        subscriber.check()
        for job_id in ids:
            job = await fire.job(job_id)
            assert (job["status"], job["lost"], job["attempt"]) == ("completed", 0, 1)


@pytest.mark.slow
async def test_a_worker_that_is_killed(fire: Fire) -> None:
    async with Subscriber(fire.stack.url, "chat:fire", fire.token) as subscriber:
        ids = await fire.queue("steps", 4, steps=30)
        await subscriber.until(
            lambda: sum(e["type"] == "job.running" for e in subscriber.events) == 4, "all run"
        )
        await fire.kill("worker")
        await subscriber.ended(ids)
        subscriber.check()
        for job_id in ids:
            job = await fire.job(job_id)
            assert (job["status"], job["lost"], job["attempt"]) == ("completed", 1, 1)


@pytest.mark.slow
async def test_two_runs_of_one_job_never_overlap(fire: Fire, tmp_path: Path) -> None:
    path = tmp_path / "effects"
    async with Subscriber(fire.stack.url, "chat:fire", fire.token) as subscriber:
        ids = await fire.queue("effect", path=str(path), seconds=2.0)
        await wait_until(_exists(path), "a first start")
        await fire.kill("worker")
        await subscriber.ended(ids)
    lines = path.read_text().split("\n")
    assert [line.split()[0] for line in lines if line] == ["start", "start", "end"]


@pytest.mark.slow
async def test_a_killed_worker_leaves_no_process(fire: Fire, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    async with Subscriber(fire.stack.url, "chat:fire", fire.token) as subscriber:
        [job_id] = await fire.queue("tree", pids=str(pids))
        await wait_until(_exists(pids, lines=2), "the tree")
        tree = [int(line) for line in pids.read_text().split()]
        await fire.kill("worker")

        async def gone() -> bool:
            return not any(Path(f"/proc/{pid}").exists() for pid in tree)

        await wait_until(gone, f"the end of {tree}")
        pids.unlink()
        await wait_until(_exists(pids, lines=2), "the tree again")
        tree = [int(line) for line in pids.read_text().split()]
        answer = await fire.client.post(f"/jobs/{job_id}/cancel")
        assert answer.status_code == 202
        await subscriber.ended([job_id])
        assert subscriber.jobs[job_id]["status"] == "cancelled"
        assert not any(Path(f"/proc/{pid}").exists() for pid in tree)


@pytest.mark.slow
async def test_sockets_that_are_cut_again_and_again(fire: Fire) -> None:
    async with Proxy("127.0.0.1", fire.stack.port) as proxy:
        url = f"http://127.0.0.1:{proxy.port}"
        async with Subscriber(url, "chat:fire", fire.token) as subscriber:
            ids = await fire.queue("steps", 3, steps=20) + await fire.queue("quick", 20)
            for _ in range(5):
                proxy.cut()
                await subscriber.another_hello()
            await subscriber.ended(ids)
            subscriber.check()


def _exists(path: Path, lines: int = 1) -> Any:
    async def check() -> bool:
        return path.exists() and path.read_text().count("\n") >= lines

    return check
