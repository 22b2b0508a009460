"""Ends of jobs that come in one turn of the event loop, written by one script."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from hub.scripts import Arg, text

#: What one script may end, in jobs and bytes: it holds up everybody else's.
MOST: Final = 32
MOST_BYTES: Final = 256 * 1024


class _Batch:
    def __init__(self) -> None:
        self.args: list[Arg] = []
        self.dones: list[asyncio.Future[Any]] = []
        self.size = 0


class Endings:
    """`run(name, *args)` calls a script."""

    def __init__(self, run: Callable[..., Awaitable[Any]]) -> None:
        self._run = run
        self._open: _Batch | None = None

    async def finish(self, *args: Arg) -> Any:
        """What the script `finish` answers to these arguments. Whoever comes first in a turn
        calls for all who follow; when that one is cancelled, they get ConnectionError, as for
        any call whose reply is lost. Raises what the client raises."""
        size = sum(len(arg) for arg in args if isinstance(arg, str | bytes))
        batch = self._open
        if batch is None or len(batch.dones) >= MOST or batch.size + size > MOST_BYTES:
            batch = self._open = _Batch()
        batch.size += size
        batch.args += args
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        batch.dones.append(done)
        if len(batch.dones) == 1:
            await self._send(batch)
        return await done

    async def _send(self, batch: _Batch) -> None:
        try:
            await asyncio.sleep(0)
            if self._open is batch:
                self._open = None
            if len(batch.dones) == 1:
                answers = [await self._run("finish", *batch.args)]
            else:
                answers = await self._run("finish_many", *batch.args)
        except BaseException as error:
            for done in batch.dones[1:]:
                if not done.done():
                    done.set_exception(
                        error
                        if isinstance(error, Exception)
                        else RedisConnectionError("The call was given up.")
                    )
            raise
        finally:
            if self._open is batch:
                self._open = None
        for done, answer in zip(batch.dones, answers, strict=True):
            if done.done():
                continue
            if answer[0] == b"broken":
                done.set_exception(ResponseError(text(answer[1])))
            else:
                done.set_result(answer)
