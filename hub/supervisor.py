"""Keeps the hub's own tasks running."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Final

log = logging.getLogger("jobcast")

FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 30.0
#: A task that has run for so long is taken for sound again, in seconds.
SOUND: Final = 60.0


async def keep_running(name: str, run: Callable[[], Awaitable[None]]) -> None:
    """Runs `run` and starts it again whenever it fails, after a pause that grows, until it is
    cancelled or returns by itself. What outages of Redis do is up to `run`: what fails here is a
    bug, and must not take the rest of the hub with it."""
    loop = asyncio.get_running_loop()
    pause = FIRST_PAUSE
    while True:
        began = loop.time()
        try:
            await apart(run())
        except Exception:
            raise_if_cancelled()
            if loop.time() - began > SOUND:
                pause = FIRST_PAUSE
            log.exception("%s failed; it starts again in %.1f s", name, pause)
            await asyncio.sleep(pause * random.uniform(0.8, 1.2))
            pause = min(2 * pause, LONGEST_PAUSE)
        else:
            return


def raise_if_cancelled() -> None:
    """Raises CancelledError in a task that was told to end and did not hear of it.

    For loops that go on after errors: a TaskGroup that is cancelled while one of its tasks fails
    raises the failure only, up to Python 3.12. There it also leaves its own cancellation of the
    task that waits for it counted, so that what has a TaskGroup must have been awaited `apart`."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def apart(work: Awaitable[None]) -> None:
    """Awaits what may cancel the task that it runs in (as a TaskGroup does) in one of its own. To
    cancel the caller cancels that one, and is the only thing that `raise_if_cancelled` sees."""

    async def alone() -> None:
        await work

    await asyncio.get_running_loop().create_task(alone())
