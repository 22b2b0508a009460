"""The Redis client, and what a server must be before Jobcast uses it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import hiredis
import redis as redis_sync
from redis.asyncio import (
    BlockingConnectionPool,
    Connection,
    Redis,
    SSLConnection,
    UnixDomainSocketConnection,
)
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff, NoBackoff
from redis.driver_info import DriverInfo
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry as RetrySync

from hub.errors import SettingsError

#: Seconds for a connect and for a reply; blocking reads are given longer ones where they are made.
CONNECT_TIMEOUT = 5.0
REPLY_TIMEOUT = 10.0
#: What connections say of themselves. Made once: redis-py reads its own package's metadata for each
#: connection, which takes longer than to connect.
_DRIVER = DriverInfo()


def connect(url: str, *, max_connections: int = 64) -> Redis:
    """An async client whose replies are bytes. Calls are repeated thrice over a lost connection,
    which every script allows. Calls beyond `max_connections` wait for one, for as long as for a
    reply."""
    pool: BlockingConnectionPool = BlockingConnectionPool.from_url(
        url,
        max_connections=max_connections,
        timeout=REPLY_TIMEOUT,
        socket_connect_timeout=CONNECT_TIMEOUT,
        socket_timeout=REPLY_TIMEOUT,
        health_check_interval=0,
        retry=Retry(ExponentialWithJitterBackoff(base=0.05, cap=1.0), 3),
        retry_on_error=[RedisConnectionError, RedisTimeoutError],
        driver_info=_DRIVER,
        **_keepalive(url),
    )
    pool.connection_class = _CANCELLABLE[pool.connection_class]
    client: Redis = Redis.from_pool(pool)
    return client


class _Cancellable(AbstractConnection):
    """Sends so that a cancellation is never lost.

    redis-py sends under `asyncio.wait_for`, which up to Python 3.11 drops a cancellation that
    comes in the turn of the loop in which the sending is done, or fails: nearly every one, since
    sending takes a turn. A task that was cancelled once would then run for ever."""

    async def send_packed_command(
        self, command: bytes | str | Iterable[bytes], check_health: bool = True
    ) -> None:
        task = asyncio.current_task()
        before = task.cancelling() if task else 0
        try:
            await super().send_packed_command(command, check_health)
        except RuntimeError as error:
            # What uvloop says of a connection that was reset, and redis-py takes for a bug.
            await self.disconnect(nowait=True)
            raise RedisConnectionError(f"the connection is closed: {error}") from None
        finally:
            if task and task.cancelling() > before:
                # The reply to what was sent must not be taken for the next command's.
                await self.disconnect(nowait=True)
                raise asyncio.CancelledError


class _Tcp(_Cancellable, Connection):
    pass


class _Tls(_Cancellable, SSLConnection):
    pass


class _Unix(_Cancellable, UnixDomainSocketConnection):
    pass


_CANCELLABLE = {Connection: _Tcp, SSLConnection: _Tls, UnixDomainSocketConnection: _Unix}


class RepliesHere:
    """The replies that have arrived already on a connection, without a coroutine for each, which
    costs more than what is done with most of them. redis-py has no such call: where its parser is
    not what this was tested with, nothing is ever here, and each reply has to be awaited.

    Make it before anything was read: it asks what redis-py gives for `none`."""

    def __init__(self, connection: Any) -> None:
        reader = getattr(getattr(connection, "_parser", None), "_reader", None)
        never = object()
        self.next: Callable[[], Any] = (
            reader.gets if isinstance(reader, hiredis.Reader) else lambda: never
        )
        self.none = self.next()


def connect_sync(url: str, timeout: float = 2.0) -> redis_sync.Redis:
    """A blocking client, for a thread that cannot wait for the event loop. It waits `timeout`
    seconds for a connection and for a reply, and leaves repeating to its caller."""
    client: redis_sync.Redis = redis_sync.Redis.from_url(
        url,
        socket_connect_timeout=timeout,
        socket_timeout=timeout,
        retry=RetrySync(NoBackoff(), 0),
        driver_info=_DRIVER,
        **_keepalive(url),
    )
    return client


def _keepalive(url: str) -> dict[str, Any]:
    # Only TCP has it; redis-py refuses the option for a Unix socket.
    return {} if url.startswith("unix:") else {"socket_keepalive": True}


async def check_server(redis: Redis) -> None:
    """Raises SettingsError when the server cannot be reached or is not fit:
    what it is, and what to change."""
    try:
        info: dict[str, Any] = await redis.info("everything")
    except (RedisError, OSError) as error:
        raise SettingsError(f"Redis cannot be reached: {error}. Check JOBCAST_REDIS_URL.") from None
    if info.get("cluster_enabled"):
        raise SettingsError(
            "This Redis is a Cluster, which Jobcast does not support yet. Use a single server, "
            "or a primary with replicas."
        )
    valkey = info.get("valkey_version")
    version = str(valkey or info["redis_version"])
    major = int(version.split(".")[0])
    if valkey is not None and major < 8:
        raise SettingsError(f"This is Valkey {version}; Jobcast needs Valkey 8 or later.")
    if valkey is None and major < 7:
        raise SettingsError(f"This is Redis {version}; Jobcast needs Redis 7 or later.")
    policy = str(info.get("maxmemory_policy", "noeviction"))
    if policy != "noeviction":
        raise SettingsError(
            f"This Redis has maxmemory-policy {policy}, under which it may throw jobs away. "
            "Set it to noeviction: redis-cli config set maxmemory-policy noeviction"
        )
