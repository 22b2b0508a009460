"""Jobcast, as its documentation says: a module of tasks and `jobcast worker`, all events on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import msgspec

from bench.client import main
from bench.effects import record
from hub.calls import Calls
from hub.connection import connect
from hub.enqueue import Enqueuer
from hub.requests import JobRequest
from hub.scripts import Scripts
from hub.settings import Settings
from hub.store import Store
from hub.transitions import Transitions
from worker import task

#: The jobs are those of this many sessions.
SESSIONS = 50


@task
async def noop(number: int, due: int) -> None:
    record(number, due)


@task
async def hold(number: int, due: int) -> None:
    record(number, due)
    await asyncio.sleep(600)


def _request(name: str, number: int, due: int) -> JobRequest:
    params = msgspec.Raw(msgspec.json.encode({"number": number, "due": due}))
    return JobRequest(session_id=f"bench:{number % SESSIONS}", task=name, params=params)


class Client:
    def __init__(self, enqueuer: Enqueuer) -> None:
        self._enqueuer = enqueuer

    async def send(self, number: int, due: int) -> None:
        await self._enqueuer.enqueue(_request("noop", number, due), credential="bench")

    async def send_many(self, numbers: Sequence[int]) -> None:
        await asyncio.gather(*(self.send(number, 0) for number in numbers))

    async def hold(self) -> None:
        await self._enqueuer.enqueue(_request("hold", 0, 0), credential="bench")


@asynccontextmanager
async def opened() -> AsyncIterator[Client]:
    settings = Settings.from_env()
    redis = connect(settings.redis_url)
    scripts = Scripts(settings)
    # The worker's first act; here the jobs are there before it.
    announced = {each.name: each.announce() for each in (noop, hold)}
    await Transitions(redis, scripts).announce(announced)
    async with Calls(redis) as calls:
        yield Client(Enqueuer(Store(redis, scripts, calls), settings))
    await redis.aclose()


if __name__ == "__main__":
    main(opened())
