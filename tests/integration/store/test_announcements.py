"""What is remembered of announcements is never used when it is not true any more."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import Raw
from redis.asyncio import Redis

from hub import keys
from hub.enqueue import Enqueuer
from hub.errors import AnnouncedAnew, BadInput
from hub.jobs import NewJob
from hub.requests import JobRequest
from hub.scripts import Scripts
from hub.settings import Settings
from hub.store import Store
from hub.transitions import Transitions


def announcement(kind: str, **more: Any) -> dict[str, Any]:
    schema = {"type": "object", "properties": {"value": {"type": kind}}}
    return {"name": "t", "params": schema, **more}


REQUEST = JobRequest(session_id="s", task="t", params=Raw(b'{"value":1}'))


@pytest.fixture
def do(redis: Redis, scripts: Scripts) -> Transitions:
    return Transitions(redis, scripts)


@pytest.fixture
def enqueuer(redis: Redis, scripts: Scripts) -> Enqueuer:
    return Enqueuer(Store(redis, scripts), Settings(secret="x" * 32))


async def test_params_are_checked_against_what_is_announced_now(
    enqueuer: Enqueuer, do: Transitions
) -> None:
    await do.announce({"t": announcement("integer")})
    assert (await enqueuer.enqueue(REQUEST, credential="c")).created

    await do.announce({"t": announcement("string")})

    with pytest.raises(BadInput, match="/params/value"):
        await enqueuer.enqueue(REQUEST, credential="c")
    await do.announce({"t": announcement("integer", max_attempts=4)})
    assert (await enqueuer.enqueue(REQUEST, credential="c")).job.max_attempts == 4


async def test_the_same_again_is_no_news(do: Transitions, redis: Redis) -> None:
    await do.announce({"t": announcement("integer"), "u": announcement("string")})
    rev = await redis.get(keys.TASKS_REV)
    assert rev is not None

    await do.announce({"t": announcement("integer"), "u": announcement("string")})
    assert await redis.get(keys.TASKS_REV) == rev

    await do.announce({"u": announcement("number")})
    assert await redis.get(keys.TASKS_REV) != rev


async def test_nothing_is_queued_under_what_is_over(
    do: Transitions, redis: Redis, scripts: Scripts
) -> None:
    store = Store(redis, scripts)
    await do.announce({"t": announcement("integer")})

    with pytest.raises(AnnouncedAnew):
        await store.enqueue(NewJob(session_id="s", task="t", tasks_rev="123"))

    assert await store.jobs(session_id="s") == await store.jobs(session_id="nobody")
    assert await redis.exists(keys.events("s")) == 0


async def test_a_server_that_has_lost_everything_is_noticed(
    enqueuer: Enqueuer, do: Transitions, redis: Redis
) -> None:
    await do.announce({"t": announcement("integer")})
    await enqueuer.enqueue(REQUEST, credential="c")

    await redis.flushall()

    with pytest.raises(BadInput, match="no worker has announced 't'"):
        await enqueuer.enqueue(REQUEST, credential="c")


async def test_who_announces_all_the_time_stops_nobody(
    enqueuer: Enqueuer, do: Transitions, monkeypatch: pytest.MonkeyPatch
) -> None:
    await do.announce({"t": announcement("integer")})
    queue, tries = Store.enqueue, []

    async def beaten(self: Store, new: NewJob, job_id: str | None = None) -> Any:
        tries.append(new.tasks_rev)
        await do.announce({"t": announcement("integer", max_attempts=1 + len(tries))})
        return await queue(self, new, job_id)

    monkeypatch.setattr(Store, "enqueue", beaten)

    assert (await enqueuer.enqueue(REQUEST, credential="c")).created
    assert len(tries) == 3
    assert tries[-1] == ""
