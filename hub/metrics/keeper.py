"""Keeps this process's part of the metrics where the other processes find it."""

from __future__ import annotations

import asyncio
import logging

from hub.metrics.board import EVERY
from hub.metrics.sample import take
from hub.services import Services

log = logging.getLogger("jobcast.metrics")


async def keep_posted(services: Services) -> None:
    """Posts until cancelled, and once more then. Returns at once where there is no other."""
    if not services.board.shared:
        return
    try:
        while True:
            _post(services)
            await asyncio.sleep(EVERY)
    finally:
        _post(services)


def _post(services: Services) -> None:
    try:
        services.board.post(take(services))
    except OSError as error:
        log.warning("cannot share metrics with the other processes: %s", error)
