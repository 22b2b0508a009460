"""What the tests of webhooks share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from hub.scripts import Scripts
from hub.webhooks.deliveries import Deliveries
from hub.webhooks.guard import parse_networks
from hub.webhooks.sender import Sender
from hub.webhooks.store import WebhookStore


@pytest.fixture
def hooks(redis: Redis, scripts: Scripts) -> WebhookStore:
    return WebhookStore(redis, scripts)


@pytest.fixture
def deliveries(redis: Redis, scripts: Scripts) -> Deliveries:
    return Deliveries(redis, scripts)


@pytest.fixture
async def sender() -> AsyncIterator[Sender]:
    async with Sender(allow_http=True, allow_nets=parse_networks("127.0.0.0/8")) as sending:
        yield sending
