"""A publication of the hub to itself, through Redis and back: is pub/sub really alive?"""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import Any

from hub import keys

#: Probes without an answer after which a connection that brings nothing else is taken for dead,
#: and any other one.
SILENT_AFTER = 2
LOST_AFTER = 10


class Probe:
    """Sent at each check on a channel of its own, by the way that every publication goes: once it
    is heard, so is all that was published before it."""

    def __init__(self) -> None:
        self._channel = keys.live(f"_probe.{os.urandom(6).hex()}")
        self.channel = self._channel.encode()
        self._sent = 0
        self._heard = 0
        #: Those by which the connection is judged, that were not heard.
        self._judging: list[int] = []
        self._sent_at = 0.0
        self._heard_at = -1e9
        self._came = asyncio.Event()

    def is_dead(self, others: bool) -> bool:
        """Whether so many were not answered that the connection must be dead; `others`: other
        publications came meanwhile."""
        return len(self._judging) >= (LOST_AFTER if others else SILENT_AFTER)

    @property
    def silence(self) -> float:
        """Seconds since one came back."""
        return asyncio.get_running_loop().time() - self._heard_at

    async def send(self, redis: Any, *, judges: bool = False) -> int:
        """Sends one; returns its number. `judges`: it is one of those that are sent at intervals,
        so that without answers the connection is dead. Raises what the client raises."""
        if self._sent == self._heard:
            self._sent_at = asyncio.get_running_loop().time()
        number = self._sent = self._sent + 1
        await redis.execute_command("SPUBLISH", self._channel, f"P probe {number}\n{{}}")
        if judges and self._heard < number:
            self._judging.append(number)
        return number

    def heard(self, data: bytes) -> float:
        """One came back; how many seconds after the first that had not, it was sent."""
        self._heard = max(self._heard, int(data.partition(b"\n")[0].split()[2]))
        self._sent = max(self._sent, self._heard)
        self._judging = [number for number in self._judging if number > self._heard]
        self._heard_at = asyncio.get_running_loop().time()
        self._came.set()
        return self._heard_at - self._sent_at

    async def until(self, number: int, seconds: float) -> bool:
        """Waits for the one of this number for so long; whether it came."""
        self._came.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._heard < number:
                    await self._came.wait()
                    self._came.clear()
        return self._heard >= number

    def forget(self) -> None:
        """The connection is a new one: what was sent on the old one is not waited for."""
        self._heard = self._sent
        self._judging.clear()
