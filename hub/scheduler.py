"""Schedules in Redis: announced by workers, fired by whoever leads the tick.

A firing is one job, however many try: its id is made of the schedule's name and the firing's time.
A schedule whose task no live worker has waits. What was missed meanwhile, or while nothing ticked,
is made up for by one job, that of the latest firing.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from hub import keys
from hub.enqueue import Enqueuer
from hub.errors import BadInput, Conflict
from hub.jobs import iso
from hub.requests import JobRequest
from hub.schedule import Schedule
from hub.scripts import Arg, Scripts, names_arg, text

log = logging.getLogger("jobcast.schedules")

CREDENTIAL: Final = "schedule"
#: Schedules fired in one tick.
BATCH: Final = 50


class ScheduleLine(Struct):
    """A schedule and when it fires next; null when never."""

    schedule: Schedule
    next_at: str | None


class ScheduleList(Struct):
    """All schedules, the next one first."""

    schedules: list[ScheduleLine]


class Scheduler:
    """Announces, fires and lists. `lease` and `keep` are in seconds, as in Settings."""

    def __init__(
        self,
        redis: Any,
        scripts: Scripts,
        enqueuer: Enqueuer,
        *,
        lease: float,
        keep: float,
    ) -> None:
        self._redis = redis
        self._scripts = scripts
        self._enqueuer = enqueuer
        self._alive_ms = int(lease * 2000)
        self._keep_ms = int(keep * 1000)
        self._complained: set[str] = set()

    async def announce(self, schedules: Sequence[Schedule], tasks: Iterable[str]) -> None:
        """Makes these the schedules of these tasks: others of them are forgotten, and one that is
        known, and the same, keeps its next firing."""
        now = await self._now()
        args: list[Arg] = [names_arg(tasks)]
        for each in schedules:
            due = each.next_after(now)
            args += [each.name, each.task, msgspec.json.encode(each), "" if due is None else due]
        await self._scripts.run(self._redis, "schedule", *args)

    async def fire(self) -> int:
        """Queues a job for every schedule that is due. Returns how many.

        Raises Busy when nothing can be queued now: what is due stays so."""
        now = await self._now()
        due = await self._redis.zrangebyscore(
            keys.SCHEDULES, "-inf", now, start=0, num=BATCH, withscores=True
        )
        served = await self._served(now) if due else set()
        fired = 0
        for raw, at in due:
            name, score = text(raw), int(at)
            found = await self._redis.hget(keys.SCHEDULE_SPECS, name)
            spec = None if found is None else _decoded(found)
            if spec is not None and spec.task not in served:
                if now - score > self._keep_ms:
                    await self._moved(name, score, None)
                continue
            if spec is not None:
                fired += await self._one(spec, spec.latest(now) or score)
            await self._moved(name, score, spec.next_after(now) if spec is not None else None)
        return fired

    async def _one(self, spec: Schedule, firing: int) -> int:
        told = {"schedule": spec.name, "due_at": iso(firing)}
        request = JobRequest(
            task=spec.task,
            session_id=spec.session,
            params=Raw(msgspec.json.encode(spec.params)),
            key=spec.key,
            metadata=Raw(msgspec.json.encode(told)),
        )
        try:
            done = await self._enqueuer.enqueue(
                request, credential=CREDENTIAL, job_id=spec.job_id(firing)
            )
        except (BadInput, Conflict) as error:
            if spec.name not in self._complained:
                self._complained.add(spec.name)
                log.warning("the schedule %s cannot be fired: %s", spec.name, error)
            return 0
        return int(done.created)

    async def listed(self) -> ScheduleList:
        """Every schedule."""
        specs = await self._redis.hgetall(keys.SCHEDULE_SPECS)
        due = dict(await self._redis.zrange(keys.SCHEDULES, 0, -1, withscores=True))
        lines = [
            ScheduleLine(_decoded(spec), iso(int(due[name])) if name in due else None)
            for name, spec in specs.items()
        ]
        return ScheduleList(
            sorted(lines, key=lambda line: (line.next_at or "~", line.schedule.name))
        )

    async def _served(self, now: int) -> set[str]:
        """The tasks that live workers have."""
        ids = await self._redis.zrangebyscore(keys.WORKERS, now - self._alive_ms, "+inf")
        pipe = self._redis.pipeline(transaction=False)
        for worker_id in ids:
            pipe.hget(keys.worker(text(worker_id)), "tasks")
        found = await pipe.execute() if ids else []
        return {name for tasks in found if tasks for name in text(tasks).split(",") if name}

    async def _moved(self, name: str, was: int, due: int | None) -> None:
        await self._scripts.run(self._redis, "fired", name, was, "" if due is None else due)

    async def _now(self) -> int:
        seconds, micros = await self._redis.time()
        return int(seconds) * 1000 + int(micros) // 1000


def _decoded(value: bytes) -> Schedule:
    _, _, spec = value.partition(b" ")
    return msgspec.json.decode(spec, type=Schedule)
