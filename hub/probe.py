"""A publication of the hub to itself, through Redis and back: is pub/sub really alive?"""

from __future__ import annotations

import asyncio
import os
from typing import Any

from hub import keys

#: Probes without an answer after which the connection is taken for dead.
SILENT_AFTER = 2


class Probe:
    """Sent at each check on a channel of its own, by the way that every publication goes."""

    def __init__(self) -> None:
        self._channel = keys.live(f"_probe.{os.urandom(6).hex()}")
        self.channel = self._channel.encode()
        self._unanswered = 0
        self._sent_at = 0.0
        self._heard_at = -1e9

    @property
    def silent(self) -> bool:
        """Whether so many were not answered that the connection must be dead."""
        return self._unanswered >= SILENT_AFTER

    @property
    def silence(self) -> float:
        """Seconds since one came back."""
        return asyncio.get_running_loop().time() - self._heard_at

    async def send(self, redis: Any) -> None:
        """Sends one. Raises what the client raises."""
        if not self._unanswered:
            self._sent_at = asyncio.get_running_loop().time()
        await redis.execute_command("SPUBLISH", self._channel, "P probe 0\n{}")
        self._unanswered += 1

    def heard(self) -> float:
        """One came back; how many seconds after it was sent."""
        self._unanswered = 0
        self._heard_at = asyncio.get_running_loop().time()
        return self._heard_at - self._sent_at

    def forget(self) -> None:
        """The connection is a new one: what was sent on the old one is not waited for."""
        self._unanswered = 0
