"""A fanout on a real Valkey, and outlets that note what they are given."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from redis.asyncio import Redis

from hub import keys
from hub.events import Publication
from hub.fanout import Fanout
from hub.feed import Batch, Subscriber
from hub.jobs import NewJob
from hub.store import Store
from hub.transitions import Transitions
from tests.conftest import wait_until


class Outlet:
    """Takes everything; catches up in a task while it may be behind, as a stream does."""

    def __init__(self, fanout: Fanout, session_id: str, after: bytes | None = None) -> None:
        self.fanout = fanout
        self.subscriber = Subscriber(session_id, self, after=after)
        self.batches: list[Batch] = []
        self.hellos: list[bytes] = []
        self.was_deleted = False
        self.changed = asyncio.Condition()
        self._flusher: asyncio.Task[None] | None = None
        self._kicked = False

    def accepts(self, size: int) -> bool:
        return True

    def room(self) -> int:
        return 1_000_000

    def write(self, subscriber: Subscriber, batch: Batch) -> None:
        self.batches.append(batch)
        self.kick()

    def greet(self, subscriber: Subscriber, hello: bytes, cursor: bytes, over: bool) -> None:
        self.hellos.append(hello)

    def gone(self, subscriber: Subscriber) -> None:
        self.was_deleted = True
        self.kick()

    def kick(self) -> None:
        self._kicked = True
        if self._flusher is None:
            self._flusher = asyncio.get_running_loop().create_task(self._flush())

    async def _flush(self) -> None:
        try:
            while self._kicked:
                self._kicked = False
                while await self.fanout.catch_up(self.subscriber):
                    pass
            async with self.changed:
                self.changed.notify_all()
        finally:
            self._flusher = None

    @property
    def seen(self) -> list[Publication]:
        return [one for batch in self.batches for one in batch.publications]

    @property
    def numbers(self) -> list[int]:
        return [int(one.cursor.split(b"-")[0]) for one in self.seen if one.kind == "L"]

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(60), self.changed:
            await self.changed.wait_for(condition)

    async def live(self) -> None:
        await self.until(lambda: self.subscriber.state == "live")


class Bench:
    """A fanout that runs, and what a test does around it."""

    def __init__(self, fanout: Fanout, redis: Redis, store: Store, do: Transitions) -> None:
        self.fanout = fanout
        self.redis: Any = redis
        self.store = store
        self.do = do

    async def queue(self, session_id: str = "s1") -> str:
        return (await self.store.enqueue(NewJob(session_id=session_id, task="t"))).job.id

    async def subscriber(self, session_id: str = "s1", after: bytes | None = None) -> Outlet:
        outlet = Outlet(self.fanout, session_id, after)
        self.fanout.subscribe(outlet.subscriber)
        await outlet.live()
        return outlet

    async def healthy(self) -> None:
        async def is_healthy() -> bool:
            return self.fanout.healthy

        await wait_until(is_healthy, "a probe that came back")

    async def suppressed(self, session_id: str = "s1") -> None:
        """Writes an event as the scripts do, but publishes nothing: a lost publication."""
        top = (await self.store.top(session_id)).decode()
        cursor = f"{int(top.split('-')[0]) + 1}-4242"
        body = f'{{"id":"{cursor}","type":"message.user","session_id":"{session_id}","data":{{}}}}'
        await self.redis.xadd(
            keys.events(session_id), {"h": f"L {cursor} {top} - 0", "e": body}, id=cursor
        )

    async def channels(self) -> set[bytes]:
        found: list[bytes] = await self.redis.execute_command("PUBSUB", "SHARDCHANNELS", "*live*")
        return set(found)
