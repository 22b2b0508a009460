"""How late the event loop runs what is due."""

from __future__ import annotations

import asyncio
from typing import Final

from hub.histogram import Histogram

INTERVAL: Final = 0.25


class LoopLag:
    """Measures by waking up. `histogram` holds how late it woke, in seconds."""

    def __init__(self) -> None:
        self.histogram = Histogram()

    async def run(self) -> None:
        """Measures until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + INTERVAL
            await asyncio.sleep(INTERVAL)
            self.histogram.observe(max(0.0, loop.time() - due))
