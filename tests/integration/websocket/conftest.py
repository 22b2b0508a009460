"""A hub in each of the two ways out, and a worker's hands."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from hub.settings import Settings
from tests.conftest import API_KEY
from tests.running_hub import Hub, running
from tests.wire import Hands


@pytest.fixture(params=[True, False], ids=["transport", "asgi"])
def fast(request: pytest.FixtureRequest) -> bool:
    """Both ways out: what a client sees is the same."""
    chosen: bool = request.param
    return chosen


@pytest.fixture
async def hub(settings: Settings, fast: bool) -> AsyncIterator[Hub]:
    async with running(settings, API_KEY, fast=fast) as hub:
        yield hub


@pytest.fixture
def hands(hub: Hub) -> Hands:
    return Hands(hub.services)
