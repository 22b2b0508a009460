"""Several hubs on one Redis: each follows what it serves, and one after the other may go."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import signal
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx2
import pytest
from redis.asyncio import Redis

from hub import keys
from hub.auth import Authenticator
from hub.settings import Settings
from hub.store import Store
from tests.conftest import API_KEY, free_port, wait_until
from tests.flock import Flock
from tests.hub_process import serving
from tests.running_hub import running
from tests.wire import wire


class Fleet(ABC):
    """Two hubs at addresses that stay."""

    def __init__(self) -> None:
        self.ports = [free_port(), free_port()]
        self.urls = [f"http://127.0.0.1:{port}" for port in self.ports]
        self._hubs: list[AsyncExitStack] = []

    @abstractmethod
    async def start(self, number: int) -> AsyncExitStack:
        """Starts a hub; the end of the stack is its end."""

    async def restart(self, number: int) -> None:
        """A hub is told to stop, drains, and another one takes its place, as in a deployment."""
        await self._hubs[number].aclose()
        self._hubs[number] = await self.start(number)

    async def __aenter__(self) -> Fleet:
        # Each server puts back the handlers that it found, and they do not go in their order.
        told = (signal.SIGINT, signal.SIGTERM)
        self._handlers = {number: signal.getsignal(number) for number in told}
        for number in range(2):
            self._hubs.append(await self.start(number))
        return self

    async def __aexit__(self, *_: object) -> None:
        for hub in self._hubs:
            await hub.aclose()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)


class Tasks(Fleet):
    """In the test's own loop, which costs little."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self._settings = dataclasses.replace(settings, connect_rate=100_000.0, ws_heartbeat=2.0)

    async def start(self, number: int) -> AsyncExitStack:
        stack = AsyncExitStack()
        settings = dataclasses.replace(self._settings, port=self.ports[number])
        await stack.enter_async_context(running(settings, API_KEY))
        return stack


class Processes(Fleet):
    """As they are deployed, and told to stop by SIGTERM."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self._redis_url = settings.redis_url

    async def start(self, number: int) -> AsyncExitStack:
        stack = AsyncExitStack()
        process, url = await stack.enter_async_context(
            serving(
                self._redis_url,
                *("--port", str(self.ports[number]), "--log-level", "warning"),
                JOBCAST_CONNECT_RATE="100000",
                JOBCAST_WS_HEARTBEAT="2",
            )
        )
        assert url == self.urls[number]
        stack.push_async_callback(self._stop, process)
        return stack

    async def _stop(self, process: asyncio.subprocess.Process) -> None:
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            out, _ = await process.communicate()
        assert b"Traceback" not in out, out.decode()


@asynccontextmanager
async def talking(store: Store, sessions: list[str], pause: float) -> AsyncIterator[list[int]]:
    """Something is said in one session after the other, all the time. Yields the count so far."""
    count = [0]
    stop = asyncio.Event()

    async def talk() -> None:
        for session_id in itertools.cycle(sessions):
            await store.say(session_id, "user", f"m{count[0]}", "x")
            count[0] += 1
            try:
                async with asyncio.timeout(pause):
                    await stop.wait()
                return
            except TimeoutError:
                continue

    async with asyncio.TaskGroup() as group:
        group.create_task(talk())
        try:
            yield count
        finally:
            stop.set()


async def everywhere(said: list[int], sessions: int) -> None:
    """Returns once something more has been said in each session."""
    enough = said[0] + sessions

    async def reached() -> bool:
        return said[0] >= enough

    await wait_until(reached, "a word in every session", 60)


@pytest.mark.parametrize(
    ("kind", "clients", "sessions", "pause"),
    [
        pytest.param(Tasks, 100, 5, 0.01, id="100"),
        pytest.param(
            *(Processes, 2_000, 40, 0.02),
            id="2000",
            marks=[pytest.mark.slow, pytest.mark.timeout(300)],
        ),
    ],
)
async def test_a_rolling_restart_of_two_hubs_loses_nothing(
    store: Store,
    settings: Settings,
    kind: type[Tasks | Processes],
    clients: int,
    sessions: int,
    pause: float,
) -> None:
    names = [f"roll:{number}" for number in range(sessions)]
    token = Authenticator(settings).mint("flock", ["roll:*"], "read", 3_600).token
    async with kind(settings) as fleet:
        everybody = [name for name, _ in zip(itertools.cycle(names), range(clients), strict=False)]
        async with Flock(fleet.urls, everybody, token) as flock:
            async with talking(store, names, pause) as said:
                for number in range(2):
                    await everywhere(said, sessions)
                    await fleet.restart(number)
                await everywhere(said, sessions)
            tops = {name: (await store.top(name)).decode() for name in names}
            await flock.all_at(tops, 120)
    for bird in flock.birds:
        # What came after its first hello: without a gap, without a repeat, and to the end.
        last = int(tops[bird.session_id].split("-")[0])
        assert bird.numbers == list(range(bird.numbers[0], last + 1)), bird.session_id
        assert bird.snapshots == 0
        assert bird.hellos >= 2
    waits = [wait for bird in flock.birds for wait in bird.goodbyes]
    # Everybody was told when to come back, and not all at the same time.
    assert len(waits) >= clients
    assert len(set(waits)) > len(waits) / 4


async def channels(redis: Redis) -> set[str]:
    client: Any = redis
    found = await client.execute_command("PUBSUB", "SHARDCHANNELS", keys.live("s*"))
    return {name.decode().rpartition(":")[2] for name in found}


async def test_each_hub_follows_what_it_serves(
    settings: Settings, redis: Redis, store: Store
) -> None:
    async with (
        running(settings, API_KEY) as one,
        running(settings, API_KEY) as two,
        wire(one, "/ws/s1") as here,
        wire(two, "/ws/s1") as there,
    ):
        await here.until("hello")
        await there.until("hello")
        async with wire(two, "/ws/s2", two.token("s2")) as only:
            await only.until("hello")
            assert one.services.fanout.sessions == 1
            assert two.services.fanout.sessions == 2
            await store.say("s1", "user", "m1", "x")
            await store.say("s2", "user", "m2", "x")
            assert (await here.until("message.user"))["data"]["message_id"] == "m1"
            assert (await there.until("message.user"))["data"]["message_id"] == "m1"
            assert (await only.until("message.user"))["data"]["message_id"] == "m2"
            assert one.services.fanout.flow.received["L"] == 1
            assert two.services.fanout.flow.received["L"] == 2
        # Late, so that a client that comes and goes costs Redis nothing.
        assert "s2" in await channels(redis)

        async def left() -> bool:
            return await channels(redis) == {"s1"}

        await wait_until(left, "the end of the subscription")
        assert two.services.fanout.sessions == 1


async def test_a_job_queued_at_one_hub_is_told_at_the_other(settings: Settings) -> None:
    async with (
        running(settings, API_KEY) as one,
        running(settings, API_KEY) as two,
        wire(two, "/ws/s1") as client,
    ):
        await client.until("hello")
        body = {"task": "t", "session_id": "s1", "queue": None}
        answer = await one.client.post("/jobs", json=body)
        assert answer.status_code == 202, answer.text
        job_id, token = answer.json()["job_id"], answer.json()["token"]
        # A wait at the one hears of the end that was reported to the other.
        waiting = asyncio.create_task(one.client.get(f"/jobs/{job_id}?wait=60"))
        done = {"token": token, "events": [{"type": "completed", "result": 7}]}
        assert (await two.client.post(f"/jobs/{job_id}/events", json=done)).status_code == 200
        assert (await client.until("job.completed"))["data"]["result"] == 7
        async with asyncio.timeout(60):
            ended: httpx2.Response = await waiting
        assert ended.json()["status"] == "completed"
