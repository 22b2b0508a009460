"""A claim that waits in the server: it is answered when there is work, and never for nobody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from hub.claims import Claim
from hub.connection import connect
from hub.jobs import NewJob
from hub.scripts import Scripts
from hub.settings import Settings
from hub.store import Store
from tests.conftest import wait_until
from worker.bell import Bell

LONG = 30.0


@pytest.fixture
async def bell(settings: Settings, scripts: Scripts) -> AsyncIterator[Bell]:
    client = connect(settings.redis_url)
    bell = Bell(client, scripts)
    yield bell
    await bell.aclose()
    await client.aclose()


async def claim(bell: Bell, request: str, wait: float = LONG, limit: int = 2) -> list[Claim]:
    return await bell.claim(
        wait, "w", request, queues=["default", "other"], tasks=["t"], lease=60, limit=limit
    )


async def waiting(redis: Redis, bell: Bell, request: str) -> asyncio.Task[list[Claim]]:
    """A claim that waits in the server now."""
    claiming = asyncio.create_task(claim(bell, request))

    async def blocked() -> bool:
        return int((await redis.info("clients"))["blocked_clients"]) > 0

    await wait_until(blocked, "a client that waits")
    return claiming


async def queue(store: Store, queue: str = "default") -> str:
    return (await store.enqueue(NewJob(session_id="s", task="t", queue=queue))).job.id


async def test_it_is_answered_when_a_job_is_queued(bell: Bell, redis: Redis, store: Store) -> None:
    for number, name in enumerate(("default", "other", "default")):
        claiming = await waiting(redis, bell, f"r{number}")

        job_id = await queue(store, name)

        [claimed] = await claiming
        assert (claimed.job_id, claimed.queue) == (job_id, name)


async def test_what_is_there_already_is_not_waited_for(bell: Bell, store: Store) -> None:
    jobs = [await queue(store) for _ in range(3)]

    assert [each.job_id for each in await claim(bell, "r1")] == jobs[:2]
    assert [each.job_id for each in await claim(bell, "r2")] == jobs[2:]


async def test_the_same_request_again_answers_the_same(bell: Bell, store: Store) -> None:
    await queue(store)
    first = await claim(bell, "r1")

    assert await claim(bell, "r1", wait=0.01) == first
    assert await claim(bell, "r2", wait=0.01) == []


async def test_it_claims_although_nothing_woke_it(bell: Bell, redis: Redis, store: Store) -> None:
    job_id = await queue(store)
    assert await redis.delete("jc:{p0}:wake:default") == 1

    assert [each.job_id for each in await claim(bell, "r1", wait=0.01)] == [job_id]


async def test_an_interrupted_one_is_answered_at_once(
    bell: Bell, redis: Redis, store: Store
) -> None:
    claiming = await waiting(redis, bell, "r1")

    await bell.interrupt()

    assert await claiming == []
    job_id = await queue(store)
    assert [each.job_id for each in await claim(bell, "r2")] == [job_id]


async def test_a_script_that_was_forgotten_is_loaded(
    bell: Bell, redis: Redis, store: Store
) -> None:
    claiming = await waiting(redis, bell, "r1")
    await redis.script_flush()

    job_id = await queue(store)

    assert [each.job_id for each in await claiming] == [job_id]


async def test_a_lost_connection_is_an_error_and_the_next_claim_has_a_new_one(
    bell: Bell, redis: Redis, store: Store
) -> None:
    claiming = await waiting(redis, bell, "r1")

    await redis.client_kill_filter(_type="normal", skipme=True)

    with pytest.raises(RedisError):
        await claiming
    job_id = await queue(store)
    assert [each.job_id for each in await claim(bell, "r1")] == [job_id]


@pytest.mark.parametrize("how", ["cancelled", "closed"])
async def test_who_has_gone_claims_nothing(
    bell: Bell, redis: Redis, store: Store, how: str
) -> None:
    claiming = await waiting(redis, bell, "r1")
    if how == "cancelled":
        claiming.cancel()
    else:
        await bell.aclose()
    await asyncio.wait({claiming})

    # This one's connection is made after the old one's end was seen by the server, or ends it.
    job_id = await queue(store)

    [claimed] = await claim(bell, "r2")
    assert claimed.job_id == job_id
    assert claimed.token.startswith("1:")


async def test_who_may_not_unblock_gives_up_the_connection(
    settings: Settings, scripts: Scripts, redis: Redis, store: Store
) -> None:
    """As the user of docs/secure.md, without what it adds for this."""
    server: Any = redis
    rights = ["+@all", "-@admin", "-@dangerous", "+info"]
    await server.execute_command("ACL", "SETUSER", "few", "on", "nopass", "~*", "&*", *rights)
    client = connect(settings.redis_url.replace("//", "//few:any@"))
    bell = Bell(client, scripts)
    try:
        claiming = await waiting(redis, bell, "r1")
        await bell.interrupt()
        with pytest.raises(RedisError):
            await claiming
        job_id = await queue(store)
        assert [each.job_id for each in await claim(bell, "r1")] == [job_id]
    finally:
        await bell.aclose()
        await client.aclose()
        await server.execute_command("ACL", "DELUSER", "few")
