"""How many jobs a worker runs at once."""

from __future__ import annotations

import asyncio
from collections import deque


class Slots:
    """`count` slots. Claims take the free ones; a job gives its slot up while it asks somebody,
    and takes one back, before any claim does, when it has its answer.

    At most `most_lent` jobs may have given up theirs: each still has its code in memory."""

    def __init__(self, count: int, most_lent: int = 1_000) -> None:
        self._free = count
        self._lent = 0
        self._most_lent = most_lent
        self._returning: deque[asyncio.Future[None]] = deque()
        self._some_free = asyncio.Event()
        self._some_free.set()

    async def take_free(self) -> int:
        """Waits until a slot is free; takes all free ones and returns how many."""
        await self._some_free.wait()
        taken, self._free = self._free, 0
        self._some_free.clear()
        return taken

    def give(self, count: int = 1) -> None:
        """Gives slots back."""
        for _ in range(count):
            while self._returning:
                waiter = self._returning.popleft()
                if not waiter.done():
                    waiter.set_result(None)
                    break
            else:
                self._free += 1
                self._some_free.set()

    def lend(self) -> bool:
        """Gives up a slot for a while; False where too many have done so: keep it then."""
        if self._lent >= self._most_lent:
            return False
        self._lent += 1
        self.give()
        return True

    def forget_lent(self) -> None:
        """A slot that was given up will not be wanted again."""
        self._lent -= 1

    async def take_back(self) -> None:
        """Waits for the slot that was given up. When cancelled, it is still given up."""
        if self._free and not self._returning:
            self._free -= 1
            if not self._free:
                self._some_free.clear()
        else:
            waiter = asyncio.get_running_loop().create_future()
            self._returning.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter.done() and not waiter.cancelled():
                    self.give()
                raise
        self._lent -= 1
