"""One connection on which many calls travel at once: scripts, and what may be asked twice.

What is called in one turn of the event loop is written at once, and answered in order, so that a
busy worker pays for a round trip once and not once a call. redis-py connects (and signs in, and
speaks TLS), as it does for everything else; waiting, repeating and giving up are ours.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections import deque
from collections.abc import Sequence
from typing import Any, Final, Self

import hiredis
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from hub.connection import REPLY_TIMEOUT, RepliesHere
from hub.supervisor import apart, keep_running, raise_if_cancelled

log = logging.getLogger("jobcast.calls")

FIRST_WAIT: Final = 0.05
LONGEST_WAIT: Final = 1.0
#: How often a call is repeated over a lost connection, or one that cannot be made.
REPEATS: Final = 3
#: Calls that may be under way; those beyond wait for room.
LIMIT: Final = 1_024


class Call:
    """Commands on their way: `data` as they are written, and who waits for the `count` replies."""

    __slots__ = ("count", "data", "done", "losses", "replies", "sent")

    def __init__(self, data: bytes, count: int, done: asyncio.Future[list[Any]]) -> None:
        self.data = data
        self.count = count
        self.done = done
        self.losses = 0
        self.replies: list[Any] = []
        self.sent = 0.0


class Flight:
    """What is to be written and what is to be answered, in order. No I/O."""

    def __init__(self) -> None:
        self._waiting: deque[Call] = deque()
        self._sent: deque[Call] = deque()

    def __bool__(self) -> bool:
        """Whether there is something to be written."""
        return bool(self._waiting)

    def add(self, call: Call) -> None:
        """Takes a call in."""
        self._waiting.append(call)

    def take(self, now: float) -> bytes:
        """All that is to be written now; it counts as sent at `now`. What nobody waits for any
        more is left out."""
        going = [call for call in self._waiting if not call.done.done()]
        self._waiting.clear()
        for call in going:
            call.sent = now
        self._sent.extend(going)
        return b"".join([call.data for call in going])

    def answer(self, reply: Any) -> None:
        """The next reply has come; an exception is one too."""
        call = self._sent[0]
        call.replies.append(reply)
        if len(call.replies) == call.count:
            self._sent.popleft()
            if not call.done.done():
                call.done.set_result(call.replies)

    def oldest(self) -> float | None:
        """When the call whose reply is next was sent; None when no reply is due."""
        return self._sent[0].sent if self._sent else None

    def lost(self, error: Exception) -> None:
        """The connection is lost, or could not be made. What was sent is to be sent again, before
        all else; what has been lost too often fails with `error`."""
        again: deque[Call] = deque()
        for call in (*self._sent, *self._waiting):
            call.losses += 1
            call.replies = []
            if call.done.done():
                continue
            if call.losses > REPEATS:
                call.done.set_exception(error)
            else:
                again.append(call)
        self._sent.clear()
        self._waiting = again

    def abort(self, error: Exception) -> None:
        """Nothing will be written any more: everything fails."""
        for call in (*self._sent, *self._waiting):
            if not call.done.done():
                call.done.set_exception(error)
        self._sent.clear()
        self._waiting.clear()


class Calls:
    """Runs commands over a connection of its own to the server of `redis`, between `async with`.

    A call is repeated over a lost connection, which every script and every read allows; it fails
    with redis-py's errors. One that waits for 10 s for its reply makes for a new connection.
    Cancelling a caller leaves the call to its fate."""

    def __init__(self, redis: Redis) -> None:
        self._pool: Any = redis.connection_pool
        self._flight = Flight()
        self._room = asyncio.Semaphore(LIMIT)
        self._more = asyncio.Event()
        self._scope: asyncio.Timeout | None = None
        self._look: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.get_running_loop().create_task(
            keep_running("the connection for calls", self._run)
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None
        self._flight.abort(RedisConnectionError("The connection for calls is closed."))

    async def evalsha(self, sha: str, numkeys: int, *args: Any) -> Any:
        """Runs a script that the server knows. Raises NoScriptError, and what redis-py raises."""
        return await self.ask("EVALSHA", sha, numkeys, *args)

    async def script_load(self, script: str) -> Any:
        """Makes a script known."""
        return await self.ask("SCRIPT", "LOAD", script)

    async def ask(self, *words: Any) -> Any:
        """The reply to one command, as RESP2 has it. Raises what redis-py raises."""
        [reply] = await self.ask_all([words])
        return reply

    async def ask_all(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """The replies to commands that are sent together. Raises the first error among them."""
        if self._task is None:
            raise RedisConnectionError("The connection for calls is closed.")
        if not commands:
            return []
        data = b"".join([hiredis.pack_command(words) for words in commands])
        async with self._room:
            done: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
            self._flight.add(Call(data, len(commands), done))
            self._more.set()
            replies = await done
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        return replies

    # ------------------------------------------------------------------ the connection

    async def _run(self) -> None:
        wait = FIRST_WAIT
        down = False
        while True:
            connected = False
            options = {**self._pool.connection_kwargs, "protocol": 2, "socket_timeout": None}
            connection = self._pool.connection_class(**options)
            try:
                async with asyncio.timeout(REPLY_TIMEOUT):
                    await connection.connect()
                connected = True
                if down:
                    log.info("Redis is back: scripts are called again")
                    down = False
                await apart(self._converse(connection))
            except* (RedisError, OSError) as group:
                error = _first(group)
                if not down:
                    log.warning("lost the connection for calls: %s", error)
                    down = True
                self._flight.lost(error)
            finally:
                await connection.disconnect(nowait=True)
            raise_if_cancelled()
            wait = FIRST_WAIT if connected else min(wait * 2, LONGEST_WAIT)
            await asyncio.sleep(wait * random.uniform(0.5, 1.0))

    async def _converse(self, connection: Any) -> None:
        if self._flight:
            self._more.set()
        try:
            async with asyncio.timeout(None) as self._scope, asyncio.TaskGroup() as tasks:
                tasks.create_task(self._write(connection))
                tasks.create_task(self._read(connection))
        except TimeoutError:
            raise RedisTimeoutError("Timeout reading from socket") from None
        finally:
            self._scope = None
            if self._look is not None:
                self._look.cancel()
                self._look = None

    async def _write(self, connection: Any) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            await self._more.wait()
            self._more.clear()
            data = self._flight.take(clock())
            if self._look is None:
                self._watch()
            await connection.send_packed_command(data, check_health=False)

    async def _read(self, connection: Any) -> None:
        answer = self._flight.answer
        here = RepliesHere(connection)
        while True:
            try:
                reply = await connection.read_response(timeout=math.inf, disconnect_on_error=False)
            except ResponseError as error:
                reply = error
            answer(reply)
            while (reply := here.next()) is not here.none:
                if isinstance(reply, RedisConnectionError):
                    raise reply
                answer(reply)

    def _watch(self) -> None:
        """Gives the connection up when a reply is overdue."""
        loop = asyncio.get_running_loop()
        self._look = None
        oldest = self._flight.oldest()
        if oldest is None or self._scope is None:
            return
        if loop.time() >= oldest + REPLY_TIMEOUT:
            self._scope.reschedule(loop.time())
        else:
            self._look = loop.call_at(oldest + REPLY_TIMEOUT, self._watch)


def _first(group: BaseExceptionGroup[Any]) -> Exception:
    error: Any = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, RedisError):
        return error
    return RedisConnectionError(str(error) or type(error).__name__)
