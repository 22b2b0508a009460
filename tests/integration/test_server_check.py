"""What a Redis server must be before Jobcast uses it, and `durable`."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from hub.connection import check_server, connect
from hub.errors import BadInput, SettingsError
from hub.jobs import NewJob
from hub.scripts import Scripts
from hub.settings import Settings
from hub.store import Store
from tests.conftest import Server, free_port, new_server


@pytest.fixture
def fresh() -> Iterator[Server]:
    server = new_server()
    yield server
    server.kill()
    shutil.rmtree(server.folder)


async def test_a_server_that_evicts_is_refused(fresh: Server) -> None:
    fresh.start("--maxmemory-policy", "allkeys-lru")
    client = connect(fresh.url)
    with pytest.raises(SettingsError, match=r"allkeys-lru.*noeviction"):
        await check_server(client)
    await client.aclose()


async def test_a_cluster_is_refused(fresh: Server) -> None:
    # Its bus is on the port + 10,000 unless said, and ephemeral ports may be too high for that.
    fresh.start("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    client = connect(fresh.url)
    with pytest.raises(SettingsError, match="Cluster"):
        await check_server(client)
    await client.aclose()


async def test_a_server_that_is_not_there() -> None:
    client = connect("redis://127.0.0.1:1/0")
    with pytest.raises(SettingsError, match="JOBCAST_REDIS_URL"):
        await check_server(client)
    await client.aclose()


async def test_a_fit_server(valkey: Server) -> None:
    client = connect(valkey.url)
    await check_server(client)
    await client.aclose()


async def test_durable_is_confirmed_by_the_disk(fresh: Server) -> None:
    fresh.start("--appendfsync", "everysec")
    client = connect(fresh.url)
    store = Store(client, Scripts(Settings()))
    made = await store.enqueue(NewJob(session_id="s", task="t", durable=True))
    fresh.kill()
    fresh.start()
    assert await store.job(made.job.id) is not None
    await client.aclose()


async def test_durable_without_an_aof_is_refused_and_not_queued(fresh: Server) -> None:
    fresh.start("--appendonly", "no")
    client: Any = connect(fresh.url)
    store = Store(client, Scripts(Settings()))
    with pytest.raises(BadInput, match=r"durable.*appendonly"):
        await store.enqueue(NewJob(session_id="s", task="t", durable=True))
    assert await client.dbsize() == 0
    await client.aclose()
