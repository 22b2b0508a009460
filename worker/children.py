"""Jobs that a job queues (`ctx.enqueue`) and waits for (`ctx.gather`)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
from msgspec import Raw

from hub import keys
from hub.channels import Channels
from hub.claims import Claim
from hub.decode import decode
from hub.enqueue import Enqueuer
from hub.errors import Conflict
from hub.events import parse
from hub.fields import WORDS
from hub.jobs import Job, job_id_for
from hub.requests import JobRequest
from hub.store import Store
from hub.transitions import Transitions
from worker.gathered import ChildCall, ChildEnd
from worker.persist import persist

MAX_CHILDREN: Final = 1_000
#: Seconds after which a parent looks although nothing was said: pub/sub may lose a word.
IDLE_SECONDS: Final = 5.0
CREDENTIAL: Final = "worker"


class _Wait:
    """One parent that waits: which of its children something was said about."""

    def __init__(self, job_ids: Iterable[str]) -> None:
        self.left = set(job_ids)
        self.changed: set[str] = set()
        self.event = asyncio.Event()


class Children:
    """Queues children and hears of their ends, for all jobs of a worker."""

    def __init__(
        self, store: Store, transitions: Transitions, enqueuer: Enqueuer, channels: Channels
    ) -> None:
        self._store = store
        self._transitions = transitions
        self._enqueuer = enqueuer
        self._channels = channels
        self._waits: set[_Wait] = set()
        self._sessions: Counter[str] = Counter()

    async def queue(self, parent: Claim, name: str, calls: Sequence[ChildCall]) -> list[str]:
        """Queues the children of one `gather` (`name` is unique in the parent), or finds those of
        an earlier run; one that failed in an earlier try of the parent is queued anew. Returns
        their ids. Raises what Enqueuer does."""
        if len(calls) > MAX_CHILDREN:
            raise ValueError(f"{len(calls):,} children are more than {MAX_CHILDREN:,}")
        tries = range(1, parent.attempt + 1)
        named = [
            [_child_id(parent, f"{name}/{number}/{n}") for n in tries]
            for number in range(len(calls))
        ]
        found = await self._read([job_id for ids in named for job_id in ids])
        return [
            await self._one(parent, call, ids, found)
            for call, ids in zip(calls, named, strict=True)
        ]

    async def _one(
        self, parent: Claim, call: ChildCall, ids: list[str], found: dict[str, Job]
    ) -> str:
        if call.job_id is not None:
            return call.job_id
        for job_id in ids:
            job = found.get(job_id)
            if job is None or (job.status in ("failed", "cancelled") and job_id != ids[-1]):
                continue
            if job.task != call.task:
                raise Conflict(
                    f"This place of the job has run {job.task!r} before, not {call.task!r}: give "
                    "each gather a name of its own."
                )
            return job_id
        request = _request(parent.session_id, call)
        queued = await persist(
            lambda: self._enqueuer.enqueue(
                request,
                credential=CREDENTIAL,
                parent_id=parent.job_id,
                parent_token=parent.token,
                job_id=ids[-1],
            )
        )
        # Another job of the session may hold the `key` that this one was to have.
        return queued.job.id

    async def wait(self, session_id: str, job_ids: Sequence[str]) -> list[ChildEnd]:
        """Returns when all of these jobs have ended; one of another session is gone."""
        wait = _Wait(job_ids)
        ends: dict[str, ChildEnd] = {}
        self._waits.add(wait)
        self._sessions[session_id] += 1
        if self._sessions[session_id] == 1:
            self._channels.add(keys.live(session_id).encode())
        try:
            wait.changed = set(wait.left)
            while True:
                looked, wait.changed = wait.changed & wait.left, set()
                wait.event.clear()
                jobs = await self._read(looked)
                for job_id in looked:
                    job = jobs.get(job_id)
                    if job is not None and job.session_id != session_id:
                        job = None
                    if job is None or job.terminal:
                        ends[job_id] = _end(job_id, job)
                        wait.left.discard(job_id)
                if not wait.left:
                    return [ends[job_id] for job_id in job_ids]
                try:
                    async with asyncio.timeout(IDLE_SECONDS):
                        await wait.event.wait()
                except TimeoutError:
                    wait.changed = set(wait.left)
        finally:
            self._waits.discard(wait)
            self._sessions[session_id] -= 1
            if not self._sessions[session_id]:
                del self._sessions[session_id]
                self._channels.remove(keys.live(session_id).encode())

    async def cancel(self, parent_id: str, job_ids: Iterable[str]) -> None:
        """Cancels the children that have not ended: nobody waits for them any more."""
        for job_id, job in (await self._read(job_ids)).items():
            if not job.terminal and job.parent_id == parent_id:
                try:
                    await persist(lambda job_id=job_id: self._transitions.cancel(job_id))  # type: ignore[misc]
                except Conflict:
                    # It has ended in the meantime.
                    continue

    def published(self, data: bytes) -> None:
        """Called with what is published about a session that is listened to."""
        if not data.startswith(b"L "):
            return
        job_id = parse(data).key.decode()
        for wait in self._waits:
            if job_id in wait.left:
                wait.changed.add(job_id)
                wait.event.set()

    def subscribed(self) -> None:
        """Something may have been said before: everybody looks."""
        for wait in self._waits:
            wait.changed |= wait.left
            wait.event.set()

    async def _read(self, job_ids: Iterable[str]) -> dict[str, Job]:
        ids = list(job_ids)
        jobs = await persist(lambda: self._store.jobs_by_id(ids)) if ids else []
        return {job.id: job for job in jobs}


def _request(session_id: str, call: ChildCall) -> JobRequest:
    asked = {**call.options, "session_id": session_id, "task": call.task, "params": call.params}
    return decode(msgspec.json.encode(asked), JobRequest, WORDS)


def _child_id(parent: Claim, name: str) -> str:
    # Its time is that of its parent, which every run knows.
    ms = int(parent.job_id.replace("-", "")[:12], 16)
    return job_id_for(parent.session_id, ms, f"{parent.job_id}/{name}")


def _end(job_id: str, job: Job | None) -> ChildEnd:
    if job is None:
        return ChildEnd(job_id, "", "gone")
    result = Raw(b"null") if job.result is None else Raw(bytes(job.result))
    return ChildEnd(job_id, job.task, job.status, result, job.error)
