"""Looks at the Redis server and at who uses it: what is not as it should be, and what to change."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, Literal

from msgspec import Struct
from redis.asyncio import Redis
from redis.exceptions import RedisError

from hub import keys
from hub.connection import check_server
from hub.errors import SettingsError
from hub.overview import Overview
from hub.scripts import text
from hub.settings import Settings

PROBE: Final = keys.PREFIX + "doctor"
PROBE_SECONDS: Final = 5.0
CLOCK_SECONDS: Final = 2.0
LAG_SECONDS: Final = 10
FULL: Final = 0.8
#: Webhooks that are looked at in one round trip.
BATCH: Final = 500

Level = Literal["ok", "warning", "problem"]


class Finding(Struct):
    """What one check found, and what to change where it is not `ok`."""

    check: str
    level: Level
    found: str
    advice: str | None = None


async def examine(redis: Redis, settings: Settings) -> list[Finding]:
    """All checks, each on its own: one that fails hides no other. Without a server that answers,
    there is one finding."""
    # redis-py types every reply as bytes or str or None; ours are bytes.
    client: Any = redis
    try:
        info: dict[str, Any] = await client.info("everything")
    except (RedisError, OSError) as error:
        return [
            Finding("server", "problem", f"no answer: {error}", "Check JOBCAST_REDIS_URL."),
        ]
    findings = [await _server(redis, info), _eviction(info), _persistence(info), _replication(info)]
    others: list[tuple[str, Callable[[], Awaitable[list[Finding]]]]] = [
        ("pub/sub", lambda: _pubsub(client)),
        ("clock", lambda: _clock(client)),
        ("workers", lambda: _workers(redis)),
        ("queues", lambda: _queues(redis)),
        ("webhooks", lambda: _webhooks(client, settings)),
    ]
    for name, check in others:
        try:
            findings += await check()
        except (RedisError, OSError, TimeoutError) as error:
            why = str(error) or type(error).__name__
            findings.append(Finding(name, "problem", f"cannot be checked: {why}", None))
    return findings


async def _server(redis: Redis, info: dict[str, Any]) -> Finding:
    valkey = info.get("valkey_version")
    name = f"Valkey {valkey}" if valkey else f"Redis {info.get('redis_version')}"
    try:
        await check_server(redis)
    except SettingsError as error:
        return Finding("server", "problem", name, str(error))
    return Finding("server", "ok", name)


def _eviction(info: dict[str, Any]) -> Finding:
    policy = str(info.get("maxmemory_policy", "noeviction"))
    most, used = int(info.get("maxmemory", 0)), int(info.get("used_memory", 0))
    if policy != "noeviction":
        return Finding(
            "memory",
            "problem",
            f"maxmemory-policy {policy}: jobs may be thrown away",
            "redis-cli config set maxmemory-policy noeviction, and in its configuration file",
        )
    if most and used > FULL * most:
        return Finding(
            "memory",
            "warning",
            f"{used / most:.0%} of maxmemory are used; when it is full, nothing can be queued",
            "Raise maxmemory, or keep ended jobs for a shorter time (JOBCAST_KEEP).",
        )
    shown = f"{used / 2**20:.0f} MiB used" + (f" of {most / 2**20:.0f}" if most else "")
    return Finding("memory", "ok", f"noeviction, {shown}")


def _persistence(info: dict[str, Any]) -> Finding:
    if info.get("aof_enabled"):
        if info.get("aof_last_write_status") != "ok":
            return Finding(
                "persistence",
                "problem",
                "the last write to the append-only file failed",
                "Look at the server's log and at its disk.",
            )
        return Finding("persistence", "ok", "append-only file")
    return Finding(
        "persistence",
        "warning",
        "no append-only file: a crash may cost every job since the last snapshot",
        "redis-cli config set appendonly yes, and in its configuration file",
    )


def _replication(info: dict[str, Any]) -> Finding:
    if info.get("role") != "master":
        return Finding(
            "replication",
            "problem",
            "this server is a replica, which takes no writes",
            "Point JOBCAST_REDIS_URL at its primary.",
        )
    replicas = [info[f"slave{n}"] for n in range(int(info.get("connected_slaves", 0)))]
    behind = [
        replica
        for replica in replicas
        if replica.get("state") != "online" or int(replica.get("lag", 0)) > LAG_SECONDS
    ]
    if behind:
        return Finding(
            "replication",
            "warning",
            f"{len(behind)} of {len(replicas)} replicas are behind: a failover would lose jobs",
            "Look at the replicas' logs and at the network between.",
        )
    return Finding("replication", "ok", f"a primary with {len(replicas)} replicas")


async def _pubsub(client: Any) -> list[Finding]:
    pool = client.connection_pool
    # RESP2, as hubs speak on their own pub/sub connection: a message is an ordinary reply.
    connection = pool.connection_class(**{**pool.connection_kwargs, "protocol": 2})
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            await connection.connect()
            await connection.send_command("SSUBSCRIBE", PROBE)
            await connection.read_response()
            word = os.urandom(8).hex().encode()
            begun = time.perf_counter()
            await client.execute_command("SPUBLISH", PROBE, word)
            while word not in await connection.read_response():
                pass
            took = time.perf_counter() - begun
    except TimeoutError:
        return [
            Finding(
                "pub/sub",
                "problem",
                f"nothing came back within {PROBE_SECONDS:g} s",
                "Is there a proxy before the server that knows no SSUBSCRIBE?",
            )
        ]
    finally:
        await connection.disconnect()
    return [Finding("pub/sub", "ok", f"there and back in {took * 1000:.1f} ms")]


async def _clock(client: Any) -> list[Finding]:
    before = time.time()
    seconds, micros = await client.time()
    skew = int(seconds) + int(micros) / 1e6 - (before + time.time()) / 2
    if abs(skew) > CLOCK_SECONDS:
        return [
            Finding(
                "clock",
                "warning",
                f"the server's clock is {abs(skew):.1f} s {'ahead' if skew > 0 else 'behind'}",
                "Keep both by NTP: jobs have the server's time, tokens the hub's.",
            )
        ]
    return [Finding("clock", "ok", f"{skew * 1000:+.0f} ms from here")]


async def _workers(redis: Redis) -> list[Finding]:
    client: Any = redis
    workers = (await Overview(redis).workers()).workers
    announced = sorted(text(name) for name in await client.hkeys(keys.TASKS))
    served = {task for worker in workers for task in worker.tasks}
    shown = ", ".join(worker.worker for worker in workers)
    findings = [
        Finding("workers", "ok", f"{len(workers)} live: {shown}")
        if workers
        else Finding("workers", "warning", "none is live", "jobcast worker tasks.py")
    ]
    idle = [task for task in announced if task not in served]
    if not announced:
        findings.append(
            Finding("tasks", "warning", "none was ever announced", "jobcast worker tasks.py")
        )
    elif idle and workers:
        findings.append(
            Finding(
                "tasks",
                "warning",
                f"no live worker serves {', '.join(idle)}: their jobs wait",
                "Start a worker that has them, or queue them no more.",
            )
        )
    else:
        findings.append(Finding("tasks", "ok", f"{len(announced)}: {', '.join(announced)}"))
    return findings


async def _queues(redis: Redis) -> list[Finding]:
    queues = (await Overview(redis).queues()).queues
    paused = [queue.queue for queue in queues if queue.paused]
    parked = sum(queue.parked for queue in queues)
    waiting = sum(queue.depth for queue in queues)
    findings = []
    if paused:
        findings.append(
            Finding(
                "queues",
                "warning",
                f"{', '.join(paused)} paused: nothing of it is started",
                f"jobcast resume {paused[0]}",
            )
        )
    if parked:
        findings.append(
            Finding(
                "queues",
                "warning",
                f"{parked} jobs wait for a worker that has their task",
                "Start one; after a day they fail.",
            )
        )
    return findings or [Finding("queues", "ok", f"{len(queues)}, with {waiting} jobs waiting")]


async def _webhooks(client: Any, settings: Settings) -> list[Finding]:
    disabled, failing = 0, 0
    ids = await client.zrange(keys.WEBHOOKS, 0, -1)
    for first in range(0, len(ids), BATCH):
        pipe = client.pipeline(transaction=False)
        for webhook_id in ids[first : first + BATCH]:
            pipe.hmget(keys.webhook(text(webhook_id)), "disabled_at", "failing_since")
        for stopped, since in await pipe.execute():
            disabled += stopped is not None
            failing += since is not None and stopped is None
    unwell = Finding(
        "webhooks",
        "warning",
        f"{disabled} of {len(ids)} are disabled, {failing} fail",
        "See why: jobcast webhooks list --disabled, and jobcast webhooks deliveries WEBHOOK",
    )
    return [*([unwell] if disabled or failing else []), await _outbox(client, settings, len(ids))]


async def _outbox(client: Any, settings: Settings, webhooks: int) -> Finding:
    length, most = int(await client.xlen(keys.OUTBOX)), settings.outbox_entries
    if length > most / 2:
        return Finding(
            "webhooks",
            "warning",
            f"{length} events wait for a hub to deliver them; at {most} queueing stops",
            "Is there a hub that runs?",
        )
    return Finding("webhooks", "ok", f"{webhooks}, {length} events wait")
