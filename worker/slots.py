"""How many jobs a worker runs at once."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

_FEW: Final = 8


class Slots:
    """`count` slots. Claims take the free ones; a job gives its slot up while it asks somebody,
    and takes one back, before any claim does, when it has its answer. One that is over gives it
    up ahead of what is still to be written of it, so that the next claim travels along.

    At most `most_lent` jobs may have lent theirs, since each still has its code in memory, and at
    most `count` may have given theirs ahead."""

    def __init__(self, count: int, most_lent: int = 1_000) -> None:
        self._free = count
        self._lent = 0
        self._at_once = count if count < _FEW else count // 2
        self._ahead = 0
        self._most_ahead = count
        self._most_lent = most_lent
        self._returning: deque[asyncio.Future[None]] = deque()
        self._some_free = asyncio.Event()
        self._some_free.set()
        #: Set while a job waits for a slot: whoever holds free ones without need should give them.
        self.wanted = asyncio.Event()

    async def take_free(self) -> int:
        """Waits until a slot is free; takes all free ones, but of many no more than half of
        all, and returns how many. While one half is claimed the other one runs."""
        await self._some_free.wait()
        taken = min(self._free, self._at_once)
        self._free -= taken
        if not self._free:
            self._some_free.clear()
        return taken

    def give(self, count: int = 1) -> None:
        """Gives slots back."""
        for _ in range(count):
            while self._returning:
                waiter = self._returning.popleft()
                if not self._returning:
                    self.wanted.clear()
                if not waiter.done():
                    waiter.set_result(None)
                    break
            else:
                self._free += 1
                self._some_free.set()

    def give_ahead(self) -> bool:
        """Gives a slot back before all is written of its job; False where too many have done so:
        keep it then. `caught_up` is to follow."""
        if self._ahead >= self._most_ahead:
            return False
        self._ahead += 1
        self.give()
        return True

    def caught_up(self) -> None:
        """All is written of a job whose slot was given ahead."""
        self._ahead -= 1

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
            self.wanted.set()
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter.done() and not waiter.cancelled():
                    self.give()
                raise
        self._lent -= 1
