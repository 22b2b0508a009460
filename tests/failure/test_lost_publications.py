"""What Redis publishes does not arrive, or is taken back: the last event still does, and what a
client holds in the end is what is true."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import redis as redis_sync

from hub.connection import connect
from hub.settings import Settings
from tests.conftest import API_KEY, SECRET, Server, new_server, wait_until
from tests.redis_proxy import RedisProxy, frame_end
from tests.running_hub import Hub, running
from tests.subscriber import Subscriber
from tests.wire import Hands, wire


@pytest.fixture
async def proxy(own_valkey: Server) -> AsyncIterator[RedisProxy]:
    async with RedisProxy(own_valkey.port) as proxy:
        yield proxy


def behind(proxy: RedisProxy, **more: Any) -> Settings:
    return Settings(redis_url=proxy.url, secret=SECRET, api_keys=f"test:{API_KEY}", port=0, **more)


def counted(hub: Hub) -> tuple[int, int]:
    """Lifecycle events that were heard, and repairs by the check of tops."""
    flow = hub.services.fanout.flow
    return flow.received["L"], flow.repaired


async def test_with_every_publication_lost_the_end_of_a_job_arrives(proxy: RedisProxy) -> None:
    # Heartbeats, by which a client would find out itself, are too far away to help.
    async with (
        running(behind(proxy, ws_heartbeat=3600), API_KEY) as hub,
        Subscriber(hub.url, "s1", hub.token()) as client,
    ):
        proxy.lose_publications("s1")
        hands = Hands(hub.services)
        job_id = await hands.start()
        await hands.finish(job_id, {"passed": 47})
        await client.ended([job_id])
        client.check()
        assert client.jobs[job_id]["status"] == "completed"
        assert client.jobs[job_id]["result"] == {"passed": 47}
        heard, repaired = counted(hub)
        assert heard == 0
        assert repaired >= 1
        assert proxy.lost >= 3
        # The check is the hub's own, in time, and the client needed no other hello for it.
        assert hub.settings.check_every <= 3
        assert len(client.hellos) == 1
        assert client.heartbeats == 0


async def test_after_a_lost_connection_every_session_is_checked_at_once(
    proxy: RedisProxy,
) -> None:
    # The check that runs now and then is too far away to help.
    settings = behind(proxy, check_every=3600, ws_heartbeat=3600)
    names = [f"s{number}" for number in range(40)]
    async with running(settings, API_KEY) as hub, wire(hub, token=hub.token(*names)) as client:
        for name in names:
            await client.send(type="subscribe", session_id=name)
        for _ in names:
            await client.until("hello")
        proxy.loses = lambda frame: b"smessage\r\n" in frame[:24]
        hands = Hands(hub.services)
        for name in names:
            await hands.queue(name)
        assert counted(hub) == (0, 0)
        redis: Any = hub.services.redis
        assert await redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub") == 1
        told = [(await client.until("job.pending"))["session_id"] for _ in names]
        assert sorted(told) == sorted(names)
        assert counted(hub) == (0, 0)


async def test_a_silent_connection_is_found_and_the_hub_is_not_ready_meanwhile(
    proxy: RedisProxy,
) -> None:
    async with (
        running(behind(proxy, check_every=0.3, ws_heartbeat=3600), API_KEY) as hub,
        Subscriber(hub.url, "s1", hub.token()) as client,
    ):

        async def is_ready() -> bool:
            return (await hub.client.get("/readyz")).status_code == 200

        async def is_not() -> bool:
            return not await is_ready()

        await wait_until(is_ready, "a hub that is ready")
        assert proxy.silence_subscribers() == 1
        hands = Hands(hub.services)
        job_id = await hands.start()
        await wait_until(is_not, "a hub that is not ready while the probe fails")
        assert (await hub.client.get("/healthz")).status_code == 200
        await wait_until(is_ready, "a hub with another connection")
        assert hub.services.fanout.counts["reconnects"] == 1
        # On the new connection events are heard again, not only found.
        heard, _ = counted(hub)
        await hands.finish(job_id)
        await client.ended([job_id])
        client.check()
        assert counted(hub)[0] > heard


# ---------------------------------------------------------------- a failover


@pytest.fixture
def replica(own_valkey: Server) -> Iterator[Server]:
    """A second Valkey, which follows the first."""
    with redis_sync.Redis(port=own_valkey.port) as client:
        # It would wait for more replicas to come.
        client.config_set("repl-diskless-sync-delay", 0)
    server = new_server()
    server.start("--replicaof", f"127.0.0.1 {own_valkey.port}")
    yield server
    server.kill()
    shutil.rmtree(server.folder)


async def synced(primary: Server, replica: Server) -> None:
    """Returns once the replica has all that the primary has."""
    with redis_sync.Redis(port=primary.port) as one, redis_sync.Redis(port=replica.port) as two:

        async def same() -> bool:
            there: Any = two.info("replication")
            here: Any = one.info("replication")
            return bool(
                there["master_link_status"] == "up"
                and there["slave_repl_offset"] >= here["master_repl_offset"]
            )

        await wait_until(same, "a replica that has everything")


async def fail_over(primary: Server, replica: Server, proxy: RedisProxy) -> None:
    """The primary is gone, and the replica, which may have missed its last words, is primary."""
    primary.kill()
    client = connect(replica.url)
    try:
        answer: Any = await client.execute_command("REPLICAOF", "NO", "ONE")  # type: ignore[no-untyped-call]
        assert answer in (b"OK", True)
    finally:
        await client.aclose()
    proxy.switch(replica.port)


def part(replica: Server) -> None:
    """From here on the replica hears nothing: its primary is at an address where nobody is."""
    with redis_sync.Redis(port=replica.port) as client:
        client.execute_command("REPLICAOF", "127.0.0.1", "1")


async def test_a_failover_to_a_stale_replica_ends_right_at_the_client(
    proxy: RedisProxy, own_valkey: Server, replica: Server
) -> None:
    async with (
        running(behind(proxy, check_every=0.3, ws_heartbeat=1), API_KEY) as hub,
        Subscriber(hub.url, "s1", hub.token()) as client,
    ):
        hands = Hands(hub.services)
        kept = [await hands.start() for _ in range(2)]
        await client.until(lambda: len(client.events) == 4, "both run")
        await synced(own_valkey, replica)
        part(replica)
        # Told to everybody, and then taken back: the replica knows nothing of it.
        await hands.finish(kept[0], "the old past")
        gone = await hands.queue()
        await client.until(lambda: gone in client.jobs, "a job that will never have been")
        old = client.cursor
        assert client.jobs[kept[0]]["status"] == "completed"
        await fail_over(own_valkey, replica, proxy)

        await client.until(lambda: len(client.hellos) == 2, "another hello")
        assert client.hellos[1]["resumed"] is False
        assert set(client.jobs) == set(kept)
        assert client.jobs[kept[0]]["status"] == "running"
        # The numbers of the old past are given again, under other nonces.
        await hands.finish(kept[0], "the new past")
        await hands.finish(kept[1], "as it was")
        await client.ended(kept)
        number = [event["id"].split("-")[0] for event in client.events]
        assert number.count(old.split("-")[0]) == 2
        await client.until(
            lambda: {client.jobs[job_id]["status"] for job_id in kept} == {"completed"},
            "both completed",
        )
        assert client.jobs[kept[0]]["result"] == "the new past"
        assert client.jobs[kept[1]]["result"] == "as it was"
        # Who was away all the time holds a cursor of the old past: it cannot be resumed.
        async with wire(hub, f"/ws/s1?after={old}") as late:
            hello = await late.until("hello")
            assert hello["resumed"] is False
            assert {job["id"]: job["status"] for job in hello["jobs"]} == dict.fromkeys(
                kept, "completed"
            )


async def test_a_failover_that_lost_nothing_is_resumed(
    proxy: RedisProxy, own_valkey: Server, replica: Server
) -> None:
    async with (
        running(behind(proxy, check_every=0.3, ws_heartbeat=1), API_KEY) as hub,
        Subscriber(hub.url, "s1", hub.token()) as client,
    ):
        hands = Hands(hub.services)
        job_id = await hands.start()
        await client.until(lambda: len(client.events) == 2, "it runs")
        await synced(own_valkey, replica)
        await fail_over(own_valkey, replica, proxy)

        async def finished() -> bool:
            try:
                await hands.finish(job_id)
            except (redis_sync.RedisError, OSError):
                return False
            return True

        await wait_until(finished, "the end of the job on the other server")
        await client.ended([job_id])
        client.check()
        assert len(client.hellos) == 1


@pytest.mark.parametrize(
    "reply",
    [
        b"+OK\r\n",
        b":1\r\n",
        b"$-1\r\n",
        b"$0\r\n\r\n",
        b"$3\r\na\r\n\r\n",
        b"*-1\r\n",
        b"*0\r\n",
        b"*3\r\n$8\r\nsmessage\r\n$1\r\nc\r\n$2\r\n\r\n\r\n",
        b"%1\r\n+a\r\n*2\r\n:1\r\n_\r\n",
        b"|1\r\n+a\r\n:1\r\n$1\r\nx\r\n",
    ],
)
def test_the_proxy_tells_replies_apart(reply: bytes) -> None:
    assert frame_end(reply) == len(reply)
    assert frame_end(b"+x\r\n" + reply + b"+y\r\n", 4) == 4 + len(reply)
    for cut in range(len(reply)):
        assert frame_end(reply[:cut]) is None, cut
