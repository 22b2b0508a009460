"""Echoes on both event loops: their transports differ in what they allow and when."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import uvloop

from tests.integration.transport.raw import Raw, Server, serving

LOOPS: dict[str, Any] = {"asyncio": asyncio.SelectorEventLoop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="module", params=LOOPS)
def echo(request: pytest.FixtureRequest) -> Iterator[Server]:
    with serving(LOOPS[request.param]) as server:
        yield server


@pytest.fixture
def client(echo: Server) -> Iterator[Raw]:
    with echo.client() as client:
        yield client
