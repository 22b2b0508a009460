"""What finds out that something was missed: tops are compared, and a probe goes round."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Any, Final, Protocol

from redis.exceptions import RedisError

from hub.channels import Channels
from hub.flow import Flow
from hub.followed import Followed
from hub.mending import TOPS, Mender
from hub.probe import Probe
from hub.store import Store

log = logging.getLogger("jobcast.fanout")

#: Seconds without any publication after which what a top shows to be missing is not under way any
#: more; and after which it is not, whatever else comes.
UNDER_WAY: Final = 0.25
BACKLOG: Final = 30.0


class Owner(Protocol):
    """Who hands out what feeds have."""

    def flush(self, session: Followed) -> None:
        """Hands out what is fresh."""
        ...

    def kick(self, session: Followed) -> None:
        """Those behind may be able to go on."""
        ...


class Checker:
    """Compares the tops of `sessions` with Redis every `every` seconds, and sends a probe.

    `probe` is told of by who hears the channels. `offset_ms` is Redis's clock less ours."""

    def __init__(
        self,
        redis: Any,
        store: Store,
        channels: Channels,
        mender: Mender,
        flow: Flow,
        owner: Owner,
        sessions: Mapping[str, Followed],
        every: float,
    ) -> None:
        self._redis = redis
        self._store = store
        self._channels = channels
        self._mender = mender
        self._flow = flow
        self._owner = owner
        self._sessions = sessions
        self._every = every
        self._look = asyncio.Event()
        self._received = 0
        self.probe = Probe()
        self.offset_ms = 0

    @property
    def healthy(self) -> bool:
        """Whether a probe went through Redis and back within the last two checks: one that is
        under way is no failure, and one that was missed is."""
        return self._channels.connected and self.probe.silence < 2 * self._every

    def soon(self) -> None:
        """Checks at once."""
        self._look.set()

    async def run(self) -> None:
        """Checks until cancelled. An outage of Redis is waited out."""
        self._channels.add(self.probe.channel)
        while True:
            try:
                async with asyncio.timeout(self._every):
                    await self._look.wait()
            except TimeoutError:
                pass
            self._look.clear()
            before, self._received = self._received, self._flow.received.total()
            if self.probe.is_dead(others=self._received != before):
                log.warning("pub/sub has been silent for some checks: connecting anew")
                self.probe.forget()
                self._channels.restart()
            try:
                await self._check()
            except (RedisError, OSError) as error:
                log.warning("cannot check sessions while Redis is away: %s", error)

    async def _check(self) -> None:
        self._flow.sample = True
        seconds, micros = await self._redis.time()
        self.offset_ms = seconds * 1000 + micros // 1000 - time.time_ns() // 1_000_000
        settled = [s for s in self._sessions.values() if s.listening and s.feed.settled]
        suspects: list[tuple[Followed, bytes | None, bytes]] = []
        for start in range(0, len(settled), TOPS):
            chunk = settled[start : start + TOPS]
            asked = [session.feed.top for session in chunk]
            tops = await self._store.tops([session.feed.session_id for session in chunk])
            for session, ours, theirs in zip(chunk, asked, tops, strict=True):
                self._flow.checked += 1
                if theirs == session.feed.top:
                    self._owner.kick(session)
                else:
                    suspects.append((session, ours, theirs))
        if self._channels.connected:
            number = await self.probe.send(self._redis, judges=True)
            if suspects:
                await self._caught_up(number, BACKLOG)
        for session, ours, theirs in suspects:
            self._owner.flush(session)
            was_settled = session.feed.settled
            session.feed.check(ours, theirs)
            if session.feed.settled:
                self._owner.kick(session)
            else:
                self._flow.repaired += was_settled
                self._mender.soon(session)

    async def heard_all(self, most: float = BACKLOG) -> None:
        """Returns once everything has been heard that was published before this, or will not be; or
        after `most` seconds. Raises what the Redis client raises."""
        if self._channels.connected:
            await self._caught_up(await self.probe.send(self._redis), most)

    async def _caught_up(self, number: int, most: float) -> None:
        """Returns once all has come that was published before a probe, or will not come: a hub that
        is behind has missed nothing, and to read histories would put it further behind."""
        patience = min(UNDER_WAY, self._every / 4)
        until = asyncio.get_running_loop().time() + most
        before = self._flow.received.total()
        while not await self.probe.until(number, patience):
            now = self._flow.received.total()
            if now == before or asyncio.get_running_loop().time() > until:
                return
            before = now
