"""A hub that is told to stop ends, whatever fails at that moment."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from hub import server
from hub.calls import Calls
from hub.channels import Channels
from hub.loop_lag import LoopLag
from hub.mending import Mender
from hub.settings import Settings
from tests.conftest import API_KEY, SECRET, Server
from tests.redis_proxy import RedisProxy
from tests.running_hub import running
from tests.wire import Hands, wire


def fails_when_it_is_cancelled(
    monkeypatch: pytest.MonkeyPatch, owner: type[object], name: str
) -> asyncio.Event:
    """Makes a method fail as redis-py does instead of ending; returns when it is under way."""
    reached = asyncio.Event()
    real: Callable[..., Awaitable[None]] = getattr(owner, name)

    async def method(*args: Any) -> None:
        reached.set()
        try:
            await (asyncio.Event().wait() if owner is Mender else real(*args))
        except asyncio.CancelledError:
            raise RedisConnectionError("the connection was reset") from None

    monkeypatch.setattr(owner, name, method)
    return reached


@pytest.mark.parametrize(
    ("owner", "name"), [(Mender, "_read_history"), (Channels, "_read"), (Calls, "_read")]
)
async def test_an_error_does_not_drown_the_end(
    valkey: Server, monkeypatch: pytest.MonkeyPatch, owner: type[object], name: str
) -> None:
    reached = fails_when_it_is_cancelled(monkeypatch, owner, name)
    async with RedisProxy(valkey.port) as proxy, asyncio.timeout(60):
        settings = Settings(
            redis_url=proxy.url, secret=SECRET, api_keys=f"test:{API_KEY}", port=0, check_every=0.1
        )
        async with running(settings, API_KEY) as hub, wire(hub, "/ws/s1") as client:
            await client.until("hello")
            # What was published and not heard is read from the history.
            proxy.lose_publications("s1")
            await Hands(hub.services).queue()
            await reached.wait()


async def test_a_task_that_does_not_end_is_named_and_left(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    over = asyncio.Event()

    async def deaf(_: LoopLag) -> None:
        while not over.is_set():
            try:
                await over.wait()
            except asyncio.CancelledError:
                continue

    monkeypatch.setattr(LoopLag, "run", deaf)
    monkeypatch.setattr(server, "SHUTDOWN_GRACE", 0)
    monkeypatch.setattr(server, "TASKS_GRACE", 0.5)
    async with asyncio.timeout(60), running(settings, API_KEY):
        pass
    assert "this does not end" in caplog.text
    assert "event-loop lag" in caplog.text
    over.set()
