"""Whatever happens between Redis, the hub and a client: no lifecycle event is lost or doubled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
from redis.exceptions import RedisError

from hub import keys
from hub.settings import Settings
from tests.conftest import API_KEY, SECRET, Server, wait_until
from tests.proxy import Proxy
from tests.running_hub import Hub, running
from tests.subscriber import Subscriber
from tests.wire import Hands, wire


@pytest.fixture
async def shaky(own_valkey: Server) -> AsyncIterator[Hub]:
    """A hub on a Valkey that may be killed."""
    settings = Settings(
        redis_url=own_valkey.url, secret=SECRET, api_keys=f"test:{API_KEY}", port=0, ws_heartbeat=1
    )
    async with running(settings, API_KEY) as hub:
        yield hub


async def lives(hands: Hands, count: int) -> list[str]:
    """Whole lives of jobs: three events each."""
    ids = []
    for _ in range(count):
        job_id = await hands.start()
        await hands.finish(job_id)
        ids.append(job_id)
    return ids


async def patiently(hands: Hands, count: int) -> list[str]:
    """The same over outages, as a worker would: what is unanswered is done again."""
    ids: list[str] = []

    async def one() -> bool:
        try:
            ids.extend(await lives(hands, 1))
        except (RedisError, OSError, KeyError):
            # KeyError: its claim was not answered, so that it is another job's turn.
            return False
        return True

    for _ in range(count):
        await wait_until(one, "a job's life")
    return ids


async def test_a_restart_of_redis_under_load(shaky: Hub, own_valkey: Server) -> None:
    hands = Hands(shaky.services)
    async with Subscriber(shaky.url, "s1", shaky.token()) as client:
        ids = await lives(hands, 20)
        for stop in (own_valkey.kill, own_valkey.stop, own_valkey.kill):
            working = asyncio.create_task(patiently(hands, 20))
            stop()
            own_valkey.start()
            ids += await working
        await client.ended(ids)
        # The socket stayed open all the time.
        assert len(client.hellos) == 1
        client.check()


async def test_cut_pubsub_connections_under_load(shaky: Hub) -> None:
    hands = Hands(shaky.services)
    redis: Any = shaky.services.redis
    async with Subscriber(shaky.url, "s1", shaky.token()) as client:
        ids: list[str] = []
        for _ in range(6):
            working = asyncio.create_task(lives(hands, 15))
            await redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
            ids += await working
        await client.ended(ids)
        assert len(client.hellos) == 1
        client.check()


async def suppress(redis: Any, session_id: str, count: int) -> str:
    """Takes the last `count` events from the wire: they are in the stream, and nobody was told."""
    cursor = ""
    for _ in range(count):
        [(top, _fields)] = await redis.xrevrange(keys.events(session_id), count=1)
        cursor = f"{int(top.split(b'-')[0]) + 1}-{99 + count}"
        body = (
            f'{{"id":"{cursor}","type":"message.user","session_id":"{session_id}",'
            f'"data":{{"message_id":"m{cursor}","text":"x"}}}}'
        )
        head = b"L %s %s - 0" % (cursor.encode(), top)
        await redis.xadd(keys.events(session_id), {"h": head, "e": body}, id=cursor)
    return cursor


async def test_lost_publications_in_the_middle_and_at_the_end(shaky: Hub) -> None:
    hands = Hands(shaky.services)
    async with Subscriber(shaky.url, "s1", shaky.token()) as client:
        ids: list[str] = []
        last = ""
        for count in (1, 5, 100):
            ids += await lives(hands, 3)
            last = await suppress(shaky.services.redis, "s1", count)
        await client.ended(ids)
        # Nothing follows that would show the gap: the check of the tops finds it.
        await client.until(lambda: client.cursor == last, "the last event")
        assert len(client.hellos) == 1
        client.check()


def more_than(found: list[Any], count: int) -> bool:
    return len(found) > count


async def test_cut_client_sockets_under_load(shaky: Hub) -> None:
    hands = Hands(shaky.services)
    port = int(shaky.url.rpartition(":")[2])
    async with Proxy("127.0.0.1", port) as proxy:
        url = f"http://127.0.0.1:{proxy.port}"
        async with Subscriber(url, "s1", shaky.token()) as client:
            ids: list[str] = []
            for _ in range(5):
                hellos = len(client.hellos)
                working = asyncio.create_task(lives(hands, 15))
                proxy.cut()
                ids += await working
                await client.until(partial(more_than, client.hellos, hellos), "a resume")
            await client.ended(ids)
            client.check()


async def test_a_subscription_during_an_outage_is_answered_after_it(
    shaky: Hub, own_valkey: Server
) -> None:
    hands = Hands(shaky.services)
    await lives(hands, 1)
    own_valkey.kill()
    async with wire(shaky, "/ws/s1") as client:
        # The hub keeps its word to those that are there: heartbeats go on without Redis.
        assert (await client.until("heartbeat"))["cursors"] == {}
        own_valkey.start()
        hello = await client.until("hello")
        assert [job["status"] for job in hello["jobs"]] == ["completed"]
