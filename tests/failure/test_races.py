"""Calls about one job at the same moment: it has one story, whichever comes first."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from hub import keys
from hub.connection import connect
from hub.errors import Conflict, StaleToken
from hub.invariant import check
from hub.jobs import NewJob
from hub.scripts import Scripts
from hub.settings import Settings
from hub.states import TERMINAL
from hub.store import Store
from hub.tick import Ticker
from hub.transitions import Transitions
from tests.conftest import Server

FAULTY = "tests.failure.faulty_tasks"


@pytest.mark.parametrize("rival", ["claim", "complete", "retry", "release", "cancel", "ask"])
async def test_cancel_against(valkey: Server, settings: Settings, rival: str) -> None:
    await races(valkey, settings, "cancel", rival)


@pytest.mark.parametrize("rival", ["complete", "retry", "release", "cancel", "ask", "heartbeat"])
async def test_the_reaper_against(valkey: Server, settings: Settings, rival: str) -> None:
    await races(valkey, settings, "reap", rival)


#: What each may be refused with when the other one came first.
REFUSED = (Conflict, StaleToken)


async def races(server: Server, settings: Settings, one: str, other: str) -> None:
    """Both at the same moment, from two connections, many times and in either order; whichever was
    first, the job has one story, and its last word is where it is."""
    first, second = connect(server.url), connect(server.url)
    scripts = Scripts(settings)
    store, do = Store(first, scripts), Transitions(first, scripts)
    error = b'{"code":"error","message":"x"}'
    seen: set[tuple[str, ...]] = set()
    for n in range(30):
        sid = f"s{n}"
        job_id = (await store.enqueue(NewJob(session_id=sid, task="work", max_attempts=2))).job.id
        token = ""
        if "claim" not in (one, other):
            [claim] = await do.claim(
                "w", f"r{n}", queues=["default"], tasks=["work"], lease=15, limit=1
            )
            token = claim.token
        if "reap" in (one, other):
            await first.zadd(keys.RUNNING, {job_id: 1})

        def act(
            what: str, redis: Redis, job_id: str = job_id, token: str = token, n: int = n
        ) -> Any:
            rival = Transitions(redis, scripts)
            calls: dict[str, Callable[[], Awaitable[Any]]] = {
                "claim": lambda: rival.claim(
                    "w", f"c{n}", queues=["default"], tasks=["work"], lease=15, limit=1
                ),
                "complete": lambda: rival.finish(job_id, token, "completed", b"1"),
                "retry": lambda: rival.retry(job_id, token, 60, error),
                "release": lambda: rival.release(job_id, token),
                "ask": lambda: rival.ask(
                    job_id, token, "q", b'"id":"q","kind":"question","prompt":"?"'
                ),
                "cancel": lambda: rival.cancel(job_id),
                "heartbeat": lambda: rival.heartbeat("w", 15, [(job_id, token)]),
                "reap": lambda: Ticker(redis, scripts).once(),
            }
            return calls[what]()

        await first.hset(keys.TICK, mapping={"until": 0})
        pair = [act(one, first), act(other, second)]
        done = await asyncio.gather(*(pair if n % 2 else pair[::-1]), return_exceptions=True)
        assert all(
            isinstance(each, REFUSED) or not isinstance(each, BaseException) for each in done
        ), done
        found = await store.job(job_id)
        assert found is not None
        told = [
            msgspec.json.decode(entry.body)["type"].removeprefix("job.")
            for entry in (await store.history(sid, b"0-0")).entries
        ]
        assert told[-1] == found.status
        assert sum(status in TERMINAL for status in told) == (found.status in TERMINAL)
        seen.add(tuple(told))
        if found.status not in TERMINAL:
            await do.cancel(job_id)
            held = (await store.job_fields(job_id, "token"))[0]
            if held:
                await do.finish(job_id, held, "cancelled")
    assert len(seen) <= 2, seen
    assert await check(first) == []
    await first.aclose()
    await second.aclose()
