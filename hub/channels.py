"""The one connection on which a hub hears sharded pub/sub (SSUBSCRIBE).

redis-py connects and parses; subscribing, reconnecting and finding out that a connection is dead
are ours, since its own PubSub comes back in silence and then something has been missed.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
from itertools import islice
from typing import Any, Protocol

from redis.asyncio import Redis
from redis.exceptions import RedisError

from hub.connection import RepliesHere
from hub.supervisor import apart, raise_if_cancelled

log = logging.getLogger("jobcast.channels")

#: Channels in one SSUBSCRIBE.
CHUNK = 256
FIRST_WAIT = 0.05
LONGEST_WAIT = 2.0


class Listener(Protocol):
    """Who is told. Calls come from the event loop and must not block."""

    def published(self, channel: bytes, data: bytes) -> None:
        """Something was published on a channel."""
        ...

    def subscribed(self, channel: bytes) -> None:
        """From here on, everything that is published on the channel will be heard."""
        ...

    def deaf(self) -> None:
        """The connection is lost: `subscribed` comes again for every channel."""
        ...


class Channels:
    """Keeps one pub/sub connection, and every channel that was added subscribed on it."""

    def __init__(self, redis: Redis, listener: Listener) -> None:
        self._pool: Any = redis.connection_pool
        self._listener = listener
        self._wanted: set[bytes] = set()
        # What to tell the server next, by channel: one word each, so that it stays bounded.
        self._words: dict[bytes, str] = {}
        self._changed = asyncio.Event()
        self._scope: asyncio.Timeout | None = None

    @property
    def connected(self) -> bool:
        """Whether there is a connection now; it may be dead without knowing."""
        return self._scope is not None

    def add(self, channel: bytes) -> None:
        """Subscribes; the listener's `subscribed` tells when."""
        self._wanted.add(channel)
        self._tell(channel, "SSUBSCRIBE")

    def remove(self, channel: bytes) -> None:
        """Unsubscribes."""
        self._wanted.discard(channel)
        self._tell(channel, "SUNSUBSCRIBE")

    def restart(self) -> None:
        """Gives up on the connection and makes a new one."""
        if self._scope is not None:
            self._scope.reschedule(asyncio.get_running_loop().time())

    def _tell(self, channel: bytes, word: str) -> None:
        if self.connected:
            self._words[channel] = word
            self._changed.set()

    async def run(self) -> None:
        """Connects, and again whenever the connection is lost, until cancelled."""
        wait = FIRST_WAIT
        while True:
            began = asyncio.get_running_loop().time()
            try:
                await apart(self._connection())
            except* (RedisError, OSError) as group:
                errors = "; ".join(str(error) or repr(error) for error in group.exceptions)
                log.warning("lost the pub/sub connection: %s", errors)
            raise_if_cancelled()
            if asyncio.get_running_loop().time() - began > LONGEST_WAIT:
                wait = FIRST_WAIT
            await asyncio.sleep(wait * random.uniform(0.5, 1.0))
            wait = min(wait * 2, LONGEST_WAIT)

    async def _connection(self) -> None:
        # RESP2: a message is then an ordinary reply, whatever the client's own calls speak.
        options = {**self._pool.connection_kwargs, "protocol": 2}
        connection = self._pool.connection_class(**options)
        try:
            await connection.connect()
            async with asyncio.timeout(None) as self._scope, asyncio.TaskGroup() as tasks:
                self._words = dict.fromkeys(self._wanted, "SSUBSCRIBE")
                self._changed.set()
                tasks.create_task(self._write(connection))
                tasks.create_task(self._read(connection))
        finally:
            was_connected, self._scope = self.connected, None
            await connection.disconnect(nowait=True)
            if was_connected:
                self._listener.deaf()

    async def _write(self, connection: Any) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            while self._words:
                word = next(iter(self._words.values()))
                same = (channel for channel, told in self._words.items() if told == word)
                chunk = list(islice(same, CHUNK))
                for channel in chunk:
                    del self._words[channel]
                await connection.send_command(word, *chunk)

    async def _read(self, connection: Any) -> None:
        published, subscribed = self._listener.published, self._listener.subscribed
        here = RepliesHere(connection)
        while True:
            # Does not give way to other tasks before all that one read brought has been taken.
            reply = await connection.read_response(timeout=math.inf, disconnect_on_error=False)
            while isinstance(reply, list):
                if reply[0] == b"smessage":
                    published(reply[1], reply[2])
                elif reply[0] == b"ssubscribe":
                    subscribed(reply[1])
                reply = here.next()
            if isinstance(reply, Exception):
                raise reply
