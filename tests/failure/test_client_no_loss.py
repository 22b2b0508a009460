"""Both clients, while a hub and a Valkey are killed: each lifecycle event once, in order."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import AsyncIterator
from contextlib import aclosing, closing
from pathlib import Path

import pytest

from hub.client import Client, Event, Hello, JobEvent, MessageEvent, SyncClient, View
from tests.conftest import wait_until
from worker.stack import Stack

TASKS = "tests.failure.tasks_under_fire"
SESSION = "chat:fire"


class Heard:
    """What a subscription told, and what is made of it."""

    def __init__(self) -> None:
        self.view = View()
        self.events: list[JobEvent] = []
        self.hellos: list[Hello] = []
        self.losses = 0

    def take(self, event: Event) -> bool:
        """Returns whether this was the last one."""
        self.view.take(event)
        if isinstance(event, Hello):
            self.hellos.append(event)
        elif isinstance(event, JobEvent):
            self.events.append(event)
        return isinstance(event, MessageEvent) and event.message.text == "over"

    def lost(self, _: object) -> None:
        self.losses += 1

    def check(self, ids: set[str]) -> None:
        numbers = [int(event.cursor.split("-")[0]) for event in self.events]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        assert [hello.resumed for hello in self.hellos] == [False, *[True] * (len(self.hellos) - 1)]
        assert {event.job_id for event in self.events} == ids
        assert self.losses >= 2
        assert {self.view.jobs[job_id].status for job_id in ids} == {"completed"}


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    env = {**os.environ, "JOBCAST_LEASE": "3", "JOBCAST_WS_HEARTBEAT": "1"}
    async with Stack(tmp_path / "data", tasks=TASKS, env=env) as stack:
        yield stack


async def kill(stack: Stack, name: str) -> None:
    pid = stack.pids[name]
    os.kill(pid, signal.SIGKILL)

    async def back() -> bool:
        return stack.pids.get(name) not in (None, pid)

    await wait_until(back, f"a new {name}")


async def test_each_event_once_through_a_hub_and_a_valkey_that_are_killed(stack: Stack) -> None:
    heard, blocking = Heard(), Heard()
    standing = threading.Event()

    def follow() -> None:
        with (
            SyncClient(stack.url, stack.api_key) as client,
            closing(client.subscribe(SESSION, on_lost=blocking.lost)) as events,
        ):
            for event in events:
                over = blocking.take(event)
                standing.set()
                if over:
                    return

    async def fire(client: Client) -> set[str]:
        ids: set[str] = set()

        async def queue(task: str, count: int, **params: int) -> None:
            for _ in range(count):
                ids.add((await client.enqueue(task, params, session_id=SESSION)).job_id)

        try:
            await asyncio.to_thread(standing.wait, 20)
            await queue("steps", 3, steps=25)
            await kill(stack, "hub")
            await queue("quick", 5)
            await kill(stack, "valkey")
            await queue("second_time_lucky", 3)
            done = [await client.wait(job_id, timeout=60) for job_id in sorted(ids)]
            assert {job.status for job in done} == {"completed"}
        finally:
            await client.say(SESSION, "over", role="agent")
        return ids

    async with (
        Client(stack.url, stack.api_key) as client,
        aclosing(client.subscribe(SESSION, on_lost=heard.lost)) as events,
    ):
        heard.take(await anext(events))
        # A daemon: a test that fails must not wait for it.
        thread = threading.Thread(target=follow, daemon=True)
        thread.start()
        async with asyncio.TaskGroup() as group:
            firing = group.create_task(fire(client))
            async for event in events:
                if heard.take(event):
                    break
    await asyncio.to_thread(thread.join, 30)
    heard.check(firing.result())
    blocking.check(firing.result())
