"""What workers say of their tasks, and a memory of it that is never out of date when it matters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct
from redis.asyncio import Redis

from hub import keys
from hub.jobs import AGENT_QUEUE
from hub.limits import Limit
from hub.scripts import text


class Announcement(Struct, kw_only=True):
    """What workers say of a task; unknown members are for others."""

    name: str
    description: str = ""
    title: str | None = None
    # A factory: msgspec cannot show a Raw default in a schema.
    params: Raw = msgspec.field(default_factory=lambda: Raw(b"{}"))
    timeout: float | None = None
    max_attempts: int = 1
    confirm: str | None = None
    queue: str = "default"
    limits: list[Limit] = []
    stall_after: float | None = None


class Announcements:
    """The tasks that may be queued. What was read once is kept, with the `tasks_rev` under which
    it was true: the script that queues a job compares that with the server's, so that the rare job
    that comes after a change costs a second round trip, and all others none."""

    def __init__(self, redis: Redis) -> None:
        self._redis: Any = redis
        self._known: dict[str, Announcement] = {}
        self._rev = ""

    def forget(self) -> None:
        """What is known may be out of date."""
        self._known = {}

    async def of(self, tasks: Sequence[str]) -> tuple[str, dict[str, Announcement]]:
        """Those of these tasks that may be queued, and the `tasks_rev` under which they are so
        ("" before any was announced). What is not known is looked up."""
        if any(task not in self._known for task in tasks):
            return await self._look_up(tasks)
        return self._rev, {task: self._known[task] for task in tasks}

    async def all(self) -> dict[str, Announcement]:
        """Every task that may be queued, as it is now."""
        found: dict[bytes, bytes] = await self._redis.hgetall(keys.TASKS)
        return _usable(raw for _, raw in sorted(found.items()))

    async def _look_up(self, tasks: Sequence[str]) -> tuple[str, dict[str, Announcement]]:
        pipe = self._redis.pipeline(transaction=True)
        pipe.get(keys.TASKS_REV)
        pipe.hmget(keys.TASKS, tasks)
        was, announced = await pipe.execute()
        rev, found = "" if was is None else text(was), _usable(raw for raw in announced if raw)
        if rev != self._rev:
            self._rev, self._known = rev, {}
        self._known |= found
        return rev, found


def _usable(announcements: Iterable[bytes]) -> dict[str, Announcement]:
    decoded = (msgspec.json.decode(raw, type=Announcement) for raw in announcements)
    return {each.name: each for each in decoded if each.queue != AGENT_QUEUE}
