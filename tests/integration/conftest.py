"""A worker in this process; what it leaves in Redis must be sound."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from hub.invariant import check
from hub.settings import Settings
from hub.store import Store
from hub.transitions import Transitions
from tests.integration.worker.shop import Shop, new_runner, working
from worker.processes import Processes
from worker.tasks import Registry


@pytest.fixture
async def processes() -> AsyncIterator[Processes]:
    async with Processes.local() as local:
        yield local


@pytest.fixture
def registry() -> Registry | None:
    """The worker's tasks, where they are not those of `worker_tasks`."""
    return None


@pytest.fixture
def stop_grace() -> float:
    """Seconds that code has to end which is stopped: few, since some of it never does. Tests of
    code that does have more, by parametrizing this."""
    return 1.0


@pytest.fixture
async def shop(
    store: Store,
    transitions: Transitions,
    settings: Settings,
    processes: Processes,
    redis: Redis,
    registry: Registry | None,
    stop_grace: float,
) -> AsyncIterator[Shop]:
    runner = new_runner(settings, processes, registry, stop_grace=stop_grace)
    async with working(runner):
        yield Shop(store, transitions, runner)
    assert await check(redis) == []
