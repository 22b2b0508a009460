"""How the rules call the scripts: once or, as after a lost reply, twice; with the claim's token or
one that is over."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import pytest
import redis as redis_sync
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine

from hub.claims import Claim
from hub.connection import connect
from hub.scripts import Scripts
from hub.settings import Settings
from hub.store import Store
from hub.tick import Ticker
from hub.transitions import Transitions
from tests.conftest import Server
from tests.integration.store.model.job import MAX_LOST, Model

T = TypeVar("T")
JOBS = Bundle("jobs")
SESSIONS = st.sampled_from(["s1", "s2"])
REPEATS = st.sampled_from([1, 1, 2])
STALE = st.sampled_from([False, False, False, True])


class Machine(RuleBasedStateMachine):
    """The scripts on a real server and the model of them, before any rule. `server` is set by the
    test."""

    server: Server

    def __init__(self) -> None:
        super().__init__()
        with redis_sync.Redis(port=self.server.port) as client:
            client.flushall()
        self.loop = asyncio.Runner()
        self.redis: Any = connect(self.server.url)
        scripts = Scripts(Settings(max_lost=MAX_LOST, agent=False))
        self.store, self.do = Store(self.redis, scripts), Transitions(self.redis, scripts)
        self.ticker = Ticker(self.redis, scripts)
        self.table: dict[str, Model] = {}
        self.forgotten: set[str] = set()
        self.idempotent: dict[str, str] = {}
        self.numbers = itertools.count()
        self.last_claim: tuple[str, int, list[Claim]] = ("", 0, [])

    def teardown(self) -> None:
        self.run(self.redis.aclose())
        self.loop.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run(work)

    def call(self, times: int, make: Callable[[], Awaitable[T]]) -> T:
        """The answer of a call; after a lost reply it is the second one that is seen."""

        async def calls() -> T:
            for _ in range(times - 1):
                await make()
            return await make()

        return self.run(calls())

    def refuses(self, error: type[Exception], times: int, make: Callable[[], Awaitable[T]]) -> None:
        with pytest.raises(error):
            self.call(times, make)
