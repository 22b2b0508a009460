"""A connection on which a claim waits, in the server, for work to come.

The blocking pop of the wake marks and the claim are sent together, so the server answers the claim
in the moment in which a job is queued: a job that comes to an idle worker costs no round trip
between being woken and claiming. redis-py connects, as it does for everything else.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Sequence
from typing import Any

import hiredis
from redis.asyncio import Redis
from redis.exceptions import NoScriptError, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from hub import keys
from hub.claims import Claim, claim_args, read_claims
from hub.connection import REPLY_TIMEOUT
from hub.scripts import Scripts


class Bell:
    """One waiting claim at a time. Connects when it is first needed, and anew after an error."""

    def __init__(self, redis: Redis, scripts: Scripts) -> None:
        self._redis = redis
        self._scripts = scripts
        self._connection: Any = None
        self._client_id = 0

    async def claim(
        self,
        wait: float,
        worker_id: str,
        request_id: str,
        *,
        queues: Sequence[str],
        tasks: Sequence[str],
        lease: float,
        limit: int,
    ) -> list[Claim]:
        """Waits up to `wait` seconds for one of the queues to have work, and then claims, whether
        it has or not. For the rest it is `Transitions.claim`; count the lease from before this
        call, so `wait` should be well below it.

        Raises RedisError and OSError; the reply may be lost then, and the same `request_id` has to
        be asked for again."""
        script = self._scripts["claim"]
        args = claim_args(
            worker_id, request_id, queues=queues, tasks=tasks, lease=lease, limit=limit
        )
        wakes = [keys.wake(queue) for queue in queues]
        claiming = _packed("EVALSHA", script.sha, *script.args(args))
        popping = _packed("BZPOPMIN", *wakes, f"{wait:.3f}")
        try:
            async with asyncio.timeout(wait + REPLY_TIMEOUT):
                connection = await self._connected()
                await connection.send_packed_command(popping + claiming, check_health=False)
                await self._reply()
                try:
                    reply = await self._reply()
                except NoScriptError:
                    await self._ask("SCRIPT", "LOAD", script.source)
                    await connection.send_packed_command(claiming, check_health=False)
                    reply = await self._reply()
        except TimeoutError:
            await self.aclose()
            raise RedisTimeoutError("Timeout reading from socket") from None
        except BaseException:
            # What is still to be answered must not be taken for the answer to the next claim.
            await self.aclose()
            raise
        return read_claims(reply)

    async def interrupt(self) -> None:
        """Has the claim that waits be answered now. Where that cannot be, it fails."""
        try:
            await self._redis.client_unblock(self._client_id)
        except (RedisError, OSError):
            await self.aclose()

    async def aclose(self) -> None:
        """Gives up the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)

    async def _connected(self) -> Any:
        if self._connection is None:
            pool: Any = self._redis.connection_pool
            options = {**pool.connection_kwargs, "protocol": 2, "socket_timeout": None}
            connection = pool.connection_class(**options)
            try:
                await connection.connect()
            except BaseException:
                await connection.disconnect(nowait=True)
                raise
            self._connection = connection
            before, self._client_id = self._client_id, int(await self._ask("CLIENT", "ID"))
            if before:
                # To the server, the lost one may still be there, and claim for nobody.
                with contextlib.suppress(RedisError):
                    await self._ask("CLIENT", "KILL", "ID", str(before))
        return self._connection

    async def _ask(self, *words: str) -> Any:
        await self._connection.send_packed_command(_packed(*words), check_health=False)
        return await self._reply()

    async def _reply(self) -> Any:
        if self._connection is None:
            raise RedisTimeoutError("The connection was given up.")
        return await self._connection.read_response(timeout=math.inf, disconnect_on_error=False)


def _packed(*words: Any) -> bytes:
    packed: bytes = hiredis.pack_command(words)
    return packed
