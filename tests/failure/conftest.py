"""What the failure tests share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hub.connection import connect
from tests.conftest import Server
from tests.failure.field import Field


@pytest.fixture
async def field(own_valkey: Server, tmp_path: Path) -> AsyncIterator[Field]:
    redis = connect(own_valkey.url)
    field = Field(own_valkey, redis, tmp_path, own_valkey.url)
    try:
        yield field
        await field.close()
    finally:
        await redis.aclose()
