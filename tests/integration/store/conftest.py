"""The store's tests run on the embedded Valkey and on Debian's Redis 7, and every one of them
ends with the Redis invariant being checked."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import redis as redis_sync
from redis.asyncio import Redis

from hub import keys
from hub.claims import Claim
from hub.connection import connect
from hub.invariant import check
from hub.jobs import Job, NewJob
from hub.scripts import Scripts
from hub.settings import Settings
from hub.store import Store
from hub.tick import Ticker
from hub.transitions import Transitions
from tests.conftest import Server, new_server


@pytest.fixture(scope="session", params=["valkey", "redis"])
def store_server(request: pytest.FixtureRequest) -> Iterator[Server]:
    server = new_server(request.param)
    server.start()
    yield server
    server.stop()
    shutil.rmtree(server.folder)


@pytest.fixture
def valkey(store_server: Server) -> Server:
    with redis_sync.Redis(port=store_server.port) as client:
        client.flushall()
    return store_server


@pytest.fixture
async def redis(valkey: Server) -> AsyncIterator[Redis]:
    client = connect(valkey.url)
    yield client
    assert await check(client) == []
    await client.aclose()


class Driver:
    """Brings jobs into states and takes actions, through the real scripts only (and by moving
    deadlines, where the real thing would take time)."""

    def __init__(self, redis: Redis, scripts: Scripts) -> None:
        self.redis: Any = redis
        self.store = Store(redis, scripts)
        self.do = Transitions(redis, scripts)
        self.ticker = Ticker(redis, scripts)
        self._requests = itertools.count()
        self.tokens: dict[str, str] = {}

    async def woken(self, seconds: float = 5) -> bool:
        """Takes the wake mark of the queue `default`; False when there is none for so long."""
        return await self.redis.bzpopmin([keys.wake("default")], seconds) is not None

    async def queue(self, session_id: str = "s1", task: str = "work", **fields: Any) -> str:
        made = await self.store.enqueue(NewJob(session_id=session_id, task=task, **fields))
        return made.job.id

    async def claim(self, limit: int = 1, tasks: str = "work", worker: str = "w1") -> list[Claim]:
        claims = await self.do.claim(
            worker,
            f"r{next(self._requests)}",
            queues=["default"],
            tasks=[tasks],
            lease=15,
            limit=limit,
        )
        self.tokens.update({claim.job_id: claim.token for claim in claims})
        return claims

    async def job(self, job_id: str) -> Job:
        job = await self.store.job(job_id)
        assert job is not None
        return job

    async def state(self, job_id: str) -> str:
        job = await self.job(job_id)
        leased = await self.redis.hexists(keys.job(job_id), "token")
        return "waiting" if job.status == "input_required" and not leased else job.status

    async def types(self, session_id: str = "s1") -> list[str]:
        history = await self.store.history(session_id, b"0-0")
        assert history.exact
        return [e.body.split(b'"type":"')[1].split(b'"')[0].decode() for e in history.entries]

    async def reach(self, state: str) -> str:
        """A new job in this state."""
        if state == "waiting":
            return await self.queue(confirm="Sure?")
        job_id = await self.queue(max_attempts=3)
        if state == "pending":
            return job_id
        if state == "cancelled":
            await self.do.cancel(job_id)
            return job_id
        await self.claim()
        token = self.tokens[job_id]
        match state:
            case "input_required":
                await self.do.ask(job_id, token, "q1", b'"id":"q1","kind":"question","prompt":"?"')
            case "retrying":
                await self.do.retry(job_id, token, 60, b'{"code":"error","message":"x"}')
            case "cancelling":
                await self.do.cancel(job_id)
            case "completed":
                await self.do.finish(job_id, token, "completed", b"1")
            case "failed":
                await self.do.finish(job_id, token, "failed", b'{"code":"error","message":"x"}')
        return job_id

    async def act(self, action: str, job_id: str) -> None:
        """Takes an action on a job. Raises what the store raises where it is refused."""
        token = self.tokens.get(job_id, "1:0")
        error = b'{"code":"error","message":"x"}'
        match action:
            case "claim":
                if await self.redis.zrem(keys.DELAYED, job_id):
                    await self.redis.zadd(keys.DELAYED, {job_id: 1})
                    await self.ticker.once()
                await self.claim()
            case "complete":
                await self.do.finish(job_id, token, "completed", b"1")
            case "fail":
                await self.do.finish(job_id, token, "failed", error)
            case "confirm_cancel":
                await self.do.finish(job_id, token, "cancelled")
            case "retry":
                await self.do.retry(job_id, token, 60, error)
            case "release":
                await self.do.release(job_id, token)
            case "reap":
                if await self.redis.zscore(keys.RUNNING, job_id) is not None:
                    await self.redis.zadd(keys.RUNNING, {job_id: 1})
                await self.ticker.once()
            case "ask":
                await self.do.ask(job_id, token, "q2", b'"id":"q2","kind":"question","prompt":"?"')
            case "withdraw":
                await self.do.withdraw(job_id, token)
            case "cancel":
                await self.do.cancel(job_id)
            case "expire":
                await self.redis.zadd(keys.EXPIRING, {job_id: 1})
                await self.ticker.once()
            case "give_up":
                if await self.redis.zrem(keys.DELAYED, job_id):
                    await self.redis.zadd(keys.DELAYED, {job_id: 1})
                    await self.ticker.once()
                await self.claim(tasks="another")
                if await self.redis.zscore(keys.parked("task:work"), job_id) is not None:
                    await self.redis.zadd(keys.parked("task:work"), {job_id: 1})
                await self.ticker.once()
            case "answer" | "refuse":
                asked = (await self.job(job_id)).input
                value = b'"no"' if action == "refuse" else b'"yes"'
                await self.do.answer(job_id, asked.id if asked else "q1", value)
            case _:
                raise AssertionError(action)


@pytest.fixture
def driver(redis: Redis, settings: Settings) -> Driver:
    return Driver(redis, Scripts(settings))
