"""Waiting for the first of several things, with nothing left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


async def first(seconds: float, *waits: Coroutine[Any, Any, Any]) -> None:
    """Returns when the first of these does, or after `seconds`; none of them outlives it."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
