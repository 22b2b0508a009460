"""What a worker does before it takes jobs, and after its last one."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal

log = logging.getLogger("jobcast.worker")

#: Seconds that all hooks of a worker's end may take.
STOP_SECONDS: Final = 10.0


class Hook:
    """A function that a worker calls when it starts or stops. Calling it calls the function."""

    def __init__(self, function: Callable[[], Any], when: Literal["start", "stop"]) -> None:
        self.function = function
        self.when = when
        self.__doc__ = function.__doc__

    def __call__(self) -> Any:
        return self.function()

    def __repr__(self) -> str:
        return f"<on_{self.when} {getattr(self.function, '__qualname__', self.function)}>"

    async def run(self) -> None:
        """Calls it; a plain function has a thread of its own."""
        if inspect.iscoroutinefunction(self.function):
            await self.function()
        else:
            await asyncio.to_thread(self.function)


def on_start(function: Callable[[], Any]) -> Hook:
    """Has a worker call this, once in each of its processes, before it takes jobs. A worker whose
    hook raises does not start. Tasks with `isolate="process"` run elsewhere, without it."""
    return Hook(function, "start")


def on_stop(function: Callable[[], Any]) -> Hook:
    """Has a worker call this after its last job, in the reverse of the order in which its hooks
    are declared, and within 10 s for all. It is not called when the process is killed."""
    return Hook(function, "stop")


async def started(hooks: Sequence[Hook]) -> None:
    """Calls those of the start. Raises what one raises."""
    for hook in hooks:
        if hook.when == "start":
            await hook.run()


async def stopped(hooks: Sequence[Hook]) -> None:
    """Calls those of the end; one that fails does not keep others from being called."""
    try:
        async with asyncio.timeout(STOP_SECONDS):
            for hook in reversed(hooks):
                if hook.when == "stop":
                    await _tried(hook)
    except TimeoutError:
        log.warning("hooks of the end took longer than %g s", STOP_SECONDS)


async def _tried(hook: Hook) -> None:
    try:
        await hook.run()
    except Exception:
        log.exception("%r failed", hook)
