"""What the hub reads from Redis, and how a job and a message come in."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

import msgspec
from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError

from hub import keys
from hub.calls import Calls
from hub.errors import BadInput, Busy, JobcastError
from hub.events import ZERO, Publication, parse_header
from hub.feed.history import History
from hub.jobs import LIST_PART_BYTES, Job, NewJob, job_from_hash, new_job_id
from hub.pages import JobPage, LogLine, LogPage, Message, Snapshot
from hub.queueing import FULL, Enqueued, enqueue_args, queue_all, read_reply
from hub.scripts import AsyncEval, Scripts, text
from hub.states import LIVE

log = logging.getLogger("jobcast")

SNAPSHOT_JOBS = 100
SNAPSHOT_MESSAGES = 200
SNAPSHOT_BYTES = 512 * 1024
#: How many jobs one page of a filtered list looks at, at most.
SCAN_JOBS = 1_000
SCAN_BATCH = 200


class Store:
    """Reads and enqueues. The Redis client's replies must be bytes. What is done all the time goes
    over `calls` where there is one, which is faster for one and for many at once."""

    def __init__(self, redis: Redis, scripts: Scripts, calls: Calls | None = None) -> None:
        # redis-py types every reply as bytes or str or None; ours are bytes.
        self.redis: Any = redis
        self._scripts = scripts
        self._calls = calls
        self._eval: AsyncEval = redis if calls is None else calls

    async def _ask_all(
        self, commands: Sequence[tuple[Any, ...]], *, at_once: bool = False
    ) -> list[Any]:
        """The replies to reads that are sent together, and made with nothing between them where
        that is said. Hashes are flat lists, or dicts."""
        replies: list[Any]
        if self._calls is None:
            pipe = self.redis.pipeline(transaction=at_once)
            for command in commands:
                pipe.execute_command(*command)
            replies = await pipe.execute()
        elif at_once:
            *_, replies = await self._calls.ask_all([("MULTI",), *commands, ("EXEC",)])
            for reply in replies:
                if isinstance(reply, Exception):
                    raise reply
        else:
            replies = await self._calls.ask_all(commands)
        return replies

    # ------------------------------------------------------------------ in

    async def enqueue(self, new: NewJob, job_id: str | None = None) -> Enqueued:
        """Queues a job, or finds the one that a repeated id, live key or idempotency key names.

        Raises Busy when the outbox or the memory of Redis is full, AnnouncedAnew when `tasks_rev`
        is over, NotFound or Conflict when `retry_of` is unknown or has not ended, BadInput when
        `durable` cannot be kept, and, for a child that its parent's code queues, StaleToken or
        ParentCancelled."""
        if new.durable:
            [done] = await queue_all(self.redis, self._scripts, [new], [job_id])
            if isinstance(done, JobcastError):
                raise done
            return done
        own_id = new_job_id(new.session_id)
        args = enqueue_args(new, job_id or own_id)
        try:
            return read_reply(await self._scripts.run(self._eval, "enqueue", *args), new, own_id)
        except OutOfMemoryError:
            raise Busy(FULL) from None

    async def enqueue_many(self, news: Sequence[NewJob]) -> list[Enqueued | JobcastError]:
        """Queues many jobs in one round trip, each as `enqueue` does; in place of one that cannot
        be queued stands the error that `enqueue` would raise."""
        return await queue_all(self.redis, self._scripts, news)

    async def say(
        self,
        session_id: str,
        role: Literal["user", "agent"],
        message_id: str,
        words: str,
        *,
        job_id: str | None = None,
        turn: bool = False,
        may: Collection[str] = (),
    ) -> bool:
        """Adds a message; a repeated `message_id` is one message (False). With `turn`, the agent's
        next turn is queued in the same script; `may` are the speaker's scopes, and the turn does
        for the speaker what they allow and no more. Raises Busy when Redis is full."""
        turn_id = new_job_id(session_id) if turn else ""
        try:
            reply = await self._scripts.run(
                self.redis,
                "message",
                session_id,
                role,
                message_id,
                msgspec.json.encode(words),
                job_id or "",
                turn_id,
                " ".join(sorted(scope for scope in may if scope.isascii() and scope.isalpha())),
            )
        except OutOfMemoryError:
            raise Busy("Redis has reached its maxmemory.") from None
        return bool(reply[0] == b"ok")

    async def partial(self, session_id: str, message_id: str, words: str) -> None:
        """Tells what a message that is still being written says so far."""
        await self._scripts.run(
            self.redis, "partial", session_id, message_id, msgspec.json.encode(words)
        )

    async def forget(self, session_id: str) -> bool:
        """Cancels a session's jobs and deletes all of it. False when there was none."""
        known = False
        while True:
            left, was = await self._scripts.run(self.redis, "forget", session_id, 200)
            known = known or bool(was)
            if not left:
                return known

    # ------------------------------------------------------------------ out

    async def job(self, job_id: str) -> Job | None:
        """One job, whole."""
        found: dict[bytes, bytes] = await self.redis.hgetall(keys.job(job_id))
        return job_from_hash(found) if found else None

    async def job_fields(self, job_id: str, *names: str) -> list[str | None]:
        """Some hash fields of a job, raw (also those that are not shown, such as `token`)."""
        found = await self.redis.hmget(keys.job(job_id), list(names))
        return [None if value is None else text(value) for value in found]

    async def jobs_by_id(self, ids: Sequence[str]) -> list[Job]:
        """These jobs, whole, in this order; those that are gone are left out, and so is what is no
        job any more: one damaged hash must not hide its whole session."""
        if not ids:
            return []
        found = await self._ask_all([("HGETALL", keys.job(job_id)) for job_id in ids])
        jobs = []
        for job_id, fields in zip(ids, found, strict=True):
            try:
                if fields:
                    jobs.append(job_from_hash(_hash(fields)))
            except (KeyError, ValueError) as error:
                log.warning("job %s is damaged: %r", job_id, error)
        return jobs

    async def jobs(
        self,
        *,
        session_id: str | None = None,
        status: frozenset[str] = frozenset(),
        task: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> JobPage:
        """A page of jobs, newest first, trimmed to list size. One call looks at no more than
        1,000 jobs, so that a page may be short and still have `more`. Raises BadInput when the
        cursor is none of ours."""
        index = keys.session_jobs(session_id) if session_id else keys.JOBS
        return await self._page(index, status, task, limit, cursor)

    async def dead(
        self,
        *,
        task: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
        whole: bool = False,
    ) -> JobPage:
        """The same of the jobs that failed for good and were not retried, the last to fail first;
        `whole` leaves nothing of them out."""
        return await self._page(keys.DEAD, frozenset(), task, limit, cursor, whole=whole)

    async def _page(
        self,
        index: str,
        status: frozenset[str],
        task: str | None,
        limit: int,
        cursor: str | None,
        *,
        whole: bool = False,
    ) -> JobPage:
        start = await self._after(index, cursor)
        out: list[Job] = []
        for first in range(start, start + SCAN_JOBS, SCAN_BATCH):
            ids = await self.redis.zrevrange(index, first, first + SCAN_BATCH - 1)
            found = {job.id: job for job in await self.jobs_by_id([text(i) for i in ids])}
            for job_id in map(text, ids):
                job = found.get(job_id)
                if job is None or (status and job.status not in status):
                    continue
                if task and job.task != task:
                    continue
                out.append(job if whole else job.trimmed())
                if len(out) == limit:
                    return JobPage(out, await self._cursor(index, job_id))
            if len(ids) < SCAN_BATCH:
                return JobPage(out, None)
        return JobPage(out, await self._cursor(index, text(ids[-1])))

    async def _after(self, index: str, cursor: str | None) -> int:
        """The rank past a page's cursor, from the newest."""
        if cursor is None:
            return 0
        score, dot, job_id = cursor.partition(".")
        if not (dot and score.isdigit() and len(cursor) <= 64):
            raise BadInput([("/cursor", "must be the `more` of an earlier page")])
        rank = await self.redis.zrevrank(index, job_id)
        if rank is not None:
            return int(rank) + 1
        return int(await self.redis.zcount(index, f"({score}", "+inf"))

    async def _cursor(self, index: str, job_id: str) -> str | None:
        """The cursor of the page after this job, or None when there is none."""
        if await self.redis.zrank(index, job_id) in (0, None):
            return None
        return f"{int(await self.redis.zscore(index, job_id))}.{job_id}"

    async def logs(self, job_id: str, after: int = 0, limit: int = 1_000) -> LogPage:
        """Log lines after line `after`, at most `limit`."""
        pipe = self.redis.pipeline(transaction=False)
        pipe.xrange(keys.log(job_id), f"({after}-0", "+", count=limit + 1)
        pipe.hget(keys.job(job_id), "log_lines")
        entries, last = await pipe.execute()
        lines = []
        for entry_id, fields in entries[:limit]:
            line = msgspec.json.decode(fields[b"j"], type=dict[str, str])
            number = int(entry_id.split(b"-")[0])
            lines.append(LogLine(number, line.get("stream", "stdout"), line.get("text", "")))
        return LogPage(lines, int(last or 0), len(entries) > limit)

    async def messages(
        self, session_id: str, before: str | None = None, limit: int = SNAPSHOT_MESSAGES
    ) -> list[Message]:
        """Up to `limit` messages before a cursor (or the newest ones), oldest first."""
        newest = f"({before}" if before else "+"
        entries = await self.redis.xrevrange(keys.messages(session_id), newest, "-", count=limit)
        return [_message(entry_id, fields) for entry_id, fields in reversed(entries)]

    async def message(self, session_id: str, cursor: str) -> Message | None:
        """The message whose event has this cursor."""
        entries = await self.redis.xrange(keys.messages(session_id), cursor, cursor)
        return _message(*entries[0]) if entries else None

    async def top(self, session_id: str) -> bytes:
        """The cursor of a session's last event; `0-0` when it has none."""
        [top] = await self.tops([session_id])
        return top

    async def tops(self, session_ids: Sequence[str]) -> list[bytes]:
        """The same for many sessions in one round trip."""
        commands = [
            ("XREVRANGE", keys.events(session_id), "+", "-", "COUNT", 1)
            for session_id in session_ids
        ]
        return [bytes(found[0][0]) if found else ZERO for found in await self._ask_all(commands)]

    async def history(self, session_id: str, after: bytes, limit: int = 2_000) -> History:
        """Up to `limit` lifecycle entries after the cursor `after`, and whether the entry at it is
        still there, nonce and all (for `0-0`: whether the first entry is)."""
        stream = keys.events(session_id)
        start = "-" if after == ZERO else after
        found, last = await self._ask_all(
            [
                ("XRANGE", stream, start, "+", "COUNT", limit + 1),
                ("XREVRANGE", stream, "+", "-", "COUNT", 1),
            ],
            at_once=True,
        )
        entries = [_entry(fields) for _, fields in found]
        top = bytes(last[0][0]) if last else ZERO
        if after == ZERO:
            exact = not entries or entries[0].prev == ZERO
        else:
            exact = bool(entries) and entries[0].cursor == after
            entries = entries[1:] if exact else []
        return History(exact, entries[:limit] if exact else [], top)

    async def live_jobs(self, session_id: str) -> list[Job]:
        """A session's live jobs (at most 100, newest first), trimmed to list size."""
        command = ("ZREVRANGE", keys.active(session_id), 0, SNAPSHOT_JOBS - 1)
        [ids] = await self._ask_all([command])
        return [job.trimmed() for job in await self.jobs_by_id([text(i) for i in ids])]

    async def snapshot(self, session_id: str) -> Snapshot:
        """The whole picture of a session. The position is read first, so that whatever changes
        while the rest is read comes again as an event past it, and `rev` reconciles the two."""
        top = await self.top(session_id)
        pipe = self.redis.pipeline(transaction=False)
        pipe.zrevrange(keys.active(session_id), 0, SNAPSHOT_JOBS - 1)
        pipe.zrevrange(keys.session_jobs(session_id), 0, SNAPSHOT_JOBS, withscores=True)
        pipe.xrevrange(keys.messages(session_id), count=SNAPSHOT_MESSAGES)
        active, recent, said = await pipe.execute()
        ids = [text(i) for i in active]
        live = set(ids)
        scores = {text(i): int(score) for i, score in recent}
        ids += [i for i in scores if i not in live][: SNAPSHOT_JOBS - len(ids)]
        jobs = [job.trimmed(LIST_PART_BYTES) for job in await self.jobs_by_id(ids)]
        messages = [_message(entry_id, fields) for entry_id, fields in reversed(said)]
        cut = len(recent) > SNAPSHOT_JOBS or any(i not in ids for i in scores)
        size = sum(len(msgspec.json.encode(message)) for message in messages)
        while messages and size > SNAPSHOT_BYTES // 2:
            size -= len(msgspec.json.encode(messages.pop(0)))
        kept: list[Job] = []
        for job in sorted(jobs, key=lambda job: job.status not in LIVE):
            size += len(msgspec.json.encode(job))
            if size > SNAPSHOT_BYTES:
                cut = True
                break
            kept.append(job)
        shown = [scores[job.id] for job in kept if job.id in scores and job.status not in LIVE]
        ended = [job.id for job in kept if job.id in scores and job.status not in LIVE]
        more = None
        if cut:
            oldest = min(zip(shown, ended, strict=True), default=None)
            more = f"{oldest[0]}.{oldest[1]}" if oldest else f"{2**53}.~"
        return Snapshot(text(top), kept, more, messages)

    async def tasks(self) -> dict[str, dict[str, Any]]:
        """Every announced task: name -> announcement."""
        found: dict[bytes, bytes] = await self.redis.hgetall(keys.TASKS)
        return {text(name): msgspec.json.decode(value) for name, value in sorted(found.items())}

    async def task(self, name: str) -> dict[str, Any] | None:
        """One announcement."""
        found = await self.redis.hget(keys.TASKS, name)
        return None if found is None else msgspec.json.decode(found)


def _message(entry_id: bytes, fields: dict[bytes, bytes]) -> Message:
    message = msgspec.json.decode(fields[b"m"], type=Message)
    message.cursor = text(entry_id)
    return message


def _entry(reply: Mapping[bytes, bytes] | Sequence[bytes]) -> Publication:
    if isinstance(reply, list) and len(reply) == 4 and reply[0] == b"h" and reply[2] == b"e":
        return parse_header(reply[1], reply[3])  # as scripts write it
    fields = _hash(reply)
    return parse_header(fields[b"h"], fields[b"e"])


def _hash(reply: Mapping[bytes, bytes] | Sequence[bytes]) -> Mapping[bytes, bytes]:
    return reply if isinstance(reply, Mapping) else dict(zip(reply[::2], reply[1::2], strict=True))
