"""Calls of Redis that go on until they are answered."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from redis.exceptions import OutOfMemoryError, RedisError, ResponseError

log = logging.getLogger("jobcast.worker")

T = TypeVar("T")

FIRST_WAIT: Final = 0.05
LONGEST_WAIT: Final = 1.0
#: What a server answers that cannot take writes for now.
_PASSING: Final = (
    "LOADING",
    "READONLY",
    "MASTERDOWN",
    "NOREPLICAS",
    "CLUSTERDOWN",
    "TRYAGAIN",
    "MISCONF",
    "BUSY",
)


def will_pass(error: BaseException) -> bool:
    """Whether the same call may be answered otherwise when Redis is back, or well again."""
    if isinstance(error, OutOfMemoryError):
        return False
    if type(error) is ResponseError:
        return str(error).startswith(_PASSING)
    return isinstance(error, RedisError | OSError)


async def persist(call: Callable[[], Awaitable[T]], until: asyncio.Event | None = None) -> T:
    """The answer of `call`, which is repeated while Redis is away: every script allows that.

    Raises what is not a matter of waiting: StaleToken, OutOfMemoryError, a script's failure; and
    once `until` is set whatever `call` raises."""
    wait = FIRST_WAIT
    while True:
        try:
            return await call()
        except (RedisError, OSError) as error:
            if not will_pass(error) or (until is not None and until.is_set()):
                raise
            log.debug("Redis is away: %s", error)
        await asyncio.sleep(wait * random.uniform(0.5, 1.0))
        wait = min(wait * 2, LONGEST_WAIT)
