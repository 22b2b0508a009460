"""An event loop whose clock jumps to the next thing that is waited for."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class _JumpingSelector(selectors.DefaultSelector):
    """Where nothing is ready and the loop would wait for a timer, the time has come."""

    now = 0.0
    threads = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if self.threads and (timeout is None or timeout > 0):
            return super().select(None)
        ready = super().select(None if timeout is None else 0)
        if not ready and timeout is not None:
            self.now += timeout
        return ready


class FakeClockLoop(asyncio.SelectorEventLoop):
    """`time()` starts at 0 and passes only where the loop waits for a timer. It stands still while
    a thread of `asyncio.to_thread` works, and where nothing but files are waited for."""

    def __init__(self) -> None:
        self._jumping: Any = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Seconds of the fake clock."""
        now: float = self._jumping.now
        return now

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """As every loop does."""
        working = super().run_in_executor(executor, func, *args)
        self._jumping.threads += 1
        working.add_done_callback(self._worked)
        return working

    def _worked(self, _: asyncio.Future[Any]) -> None:
        self._jumping.threads -= 1
