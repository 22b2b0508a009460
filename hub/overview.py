"""What operators look at: sessions, queues, workers. Every look at Redis is bounded."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any, Final

from msgspec import Raw, Struct
from redis.asyncio import Redis

from hub import keys
from hub.errors import BadInput
from hub.jobs import iso
from hub.scripts import text

#: How many jobs of each place are looked at to count them by queue.
SCAN_JOBS: Final = 5_000


class SessionLine(Struct):
    """A session: when something last happened in it, and how many of its jobs are live."""

    session_id: str
    active_at: str
    live_jobs: int


class SessionPage(Struct):
    """Sessions, the last active first; `more` is the cursor of the next page, or null."""

    sessions: list[SessionLine]
    more: str | None = None


class QueueLine(Struct):
    """A queue. `depth` is how many jobs may be claimed now, `oldest_age` for how many seconds
    the first of them has waited. The other counts look at 5,000 jobs each, at most."""

    queue: str
    depth: int
    oldest_age: float | None
    running: int
    delayed: int
    parked: int
    dead: int
    paused: bool


class QueueList(Struct):
    """All queues that were ever used."""

    queues: list[QueueLine]


class Held(Struct):
    """A job in a worker's hands."""

    job_id: str
    session_id: str
    task: str
    status: str
    started_at: str | None


class WorkerLine(Struct):
    """A worker that is alive; `facts` is what it says of itself."""

    worker: str
    seen_at: str | None
    facts: Raw
    tasks: list[str]
    queues: list[str]
    jobs: list[Held]


class WorkerList(Struct):
    """All live workers."""

    workers: list[WorkerLine]


class Overview:
    """Reads for operators. The Redis client's replies must be bytes."""

    def __init__(self, redis: Redis) -> None:
        # redis-py types every reply as bytes or str or None; ours are bytes.
        self._redis: Any = redis

    async def sessions(self, limit: int = 50, cursor: str | None = None) -> SessionPage:
        """A page of sessions. Raises BadInput when the cursor is none of ours."""
        start = 0
        if cursor is not None:
            score, dot, last = cursor.partition(".")
            if not (dot and score.isascii() and score.isdigit() and len(cursor) <= 160):
                raise BadInput([("/cursor", "must be the `more` of an earlier page")])
            if await self._redis.zscore(keys.SESSIONS, last) == float(score):
                start = await self._redis.zrevrank(keys.SESSIONS, last) + 1
            else:
                start = await self._redis.zcount(keys.SESSIONS, score, "+inf")
        found = await self._redis.zrevrange(keys.SESSIONS, start, start + limit, withscores=True)
        shown = [(text(session), int(at)) for session, at in found[:limit]]
        pipe = self._redis.pipeline(transaction=False)
        for session, _ in shown:
            pipe.zcard(keys.active(session))
        counts = await pipe.execute()
        lines = [
            SessionLine(session, iso(at), live)
            for (session, at), live in zip(shown, counts, strict=True)
        ]
        more = f"{shown[-1][1]}.{shown[-1][0]}" if len(found) > limit else None
        return SessionPage(lines, more)

    async def queues(self) -> QueueList:
        """Every queue and what is in it."""
        names = sorted(text(name) for name in await self._redis.smembers(keys.QUEUES))
        paused = {text(name) for name in await self._redis.smembers(keys.PAUSED)}
        now = await self._now()
        running = await self._by_queue(keys.RUNNING)
        delayed = await self._by_queue(keys.DELAYED)
        dead = await self._by_queue(keys.DEAD)
        parked: Counter[str] = Counter()
        for reason in await self._redis.smembers(keys.PARKED):
            parked += await self._by_queue(keys.parked(text(reason)))
        lines = []
        for name in names:
            depth = await self._redis.zcard(keys.ready(name))
            lines.append(
                QueueLine(
                    queue=name,
                    depth=depth,
                    oldest_age=await self._oldest_age(name, now) if depth else None,
                    running=running[name],
                    delayed=delayed[name],
                    parked=parked[name],
                    dead=dead[name],
                    paused=name in paused,
                )
            )
        return QueueList(lines)

    async def workers(self) -> WorkerList:
        """Every live worker and the jobs that it holds."""
        ids = [text(w) for w in await self._redis.zrevrange(keys.WORKERS, 0, 999)]
        pipe = self._redis.pipeline(transaction=False)
        for worker_id in ids:
            pipe.hgetall(keys.worker(worker_id))
        found = await pipe.execute() if ids else []
        held = await self._held()
        return WorkerList(
            [
                WorkerLine(
                    worker=worker_id,
                    seen_at=iso(int(fields[b"seen_at"])) if b"seen_at" in fields else None,
                    facts=Raw(fields.get(b"facts", b"{}")),
                    tasks=_names(fields.get(b"tasks", b"")),
                    queues=_names(fields.get(b"queues", b"")),
                    jobs=held[worker_id],
                )
                for worker_id, fields in zip(ids, found, strict=True)
                if fields
            ]
        )

    async def _now(self) -> int:
        seconds, micros = await self._redis.time()
        return int(seconds) * 1000 + int(micros) // 1000

    async def _fields(self, ids: list[bytes], *names: str) -> list[list[bytes | None]]:
        pipe = self._redis.pipeline(transaction=False)
        for job_id in ids:
            pipe.hmget(keys.job(text(job_id)), names)
        return list(await pipe.execute()) if ids else []

    async def _by_queue(self, zset: str) -> Counter[str]:
        ids = await self._redis.zrevrange(zset, 0, SCAN_JOBS - 1)
        return Counter(text(row[0]) for row in await self._fields(ids, "queue") if row[0])

    async def _oldest_age(self, queue: str, now: int) -> float | None:
        # Ready jobs are in the order in which they are handed out, not in that of their age.
        ids = await self._redis.zrange(keys.ready(queue), 0, SCAN_JOBS - 1)
        since = [
            max(int(updated), int(run_at or 0))
            for updated, run_at in await self._fields(ids, "updated_at", "run_at")
            if updated
        ]
        return max(0, now - min(since)) / 1000 if since else None

    async def _held(self) -> dict[str, list[Held]]:
        ids = await self._redis.zrange(keys.RUNNING, 0, SCAN_JOBS - 1)
        rows = await self._fields(ids, "worker", "session_id", "task", "status", "started_at")
        held: dict[str, list[Held]] = defaultdict(list)
        for job_id, (worker, session, task, status, started) in zip(ids, rows, strict=True):
            if worker:
                at = iso(int(started)) if started else None
                held[text(worker)].append(
                    Held(text(job_id), text(session), text(task), text(status), at)
                )
        return held


def _names(packed: bytes) -> list[str]:
    return [name for name in text(packed).split(",") if name]
