"""Keeps this process's part of the metrics where the other processes find it."""

from __future__ import annotations

import asyncio

from hub.metrics.board import EVERY
from hub.metrics.sample import take
from hub.services import Services


async def keep_posted(services: Services) -> None:
    """Posts until cancelled, and once more then. Returns at once where there is no other."""
    if not services.board.shared:
        return
    try:
        while True:
            services.board.post(take(services))
            await asyncio.sleep(EVERY)
    finally:
        services.board.post(take(services))
