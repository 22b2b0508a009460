"""How the agent's tools reach jobs: over HTTP, on Redis itself, or within the hub."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol

import msgspec
from msgspec import Raw

from hub import actions
from hub.announcements import Announcement
from hub.enqueue import Enqueuer
from hub.jobs import Job
from hub.pages import JobPage, LogPage
from hub.principal import Principal
from hub.requests import JobRequest
from hub.responses import Answered, Queued
from hub.store import Store
from hub.transitions import Transitions


class Desk(Protocol):
    """The calls that tools need. `hub.client.Client` and `hub.client.Jobs` have them too; each
    raises what those say (`hub.errors`)."""

    async def tasks(self) -> list[Announcement]:
        """The tasks that may be queued."""

    async def enqueue(
        self,
        task: str,
        params: Mapping[str, Any] | None = None,
        *,
        session_id: str,
        idempotency_key: str | None = None,
    ) -> Queued:
        """Queues a job."""

    async def job(self, job_id: str) -> Job:
        """A job, whole."""

    async def jobs(
        self, *, session_id: str | None = None, status: Collection[str] = (), limit: int = 50
    ) -> JobPage:
        """A page of jobs, newest first."""

    async def cancel(self, job_id: str) -> Job:
        """Asks for a job's end."""

    async def answer(self, job_id: str, input_id: str, value: Any) -> Answered:
        """Answers a job's question."""

    async def logs(self, job_id: str, *, after: int = 0, limit: int = 1_000) -> LogPage:
        """Log lines after the line `after`."""


class OwnDesk:
    """A Desk within a hub or worker, with the rights of a principal and no more.

    `credential` and `origin` are noted on the jobs that it queues; `allow` is asked before each
    of them, and raises TooMany."""

    def __init__(
        self,
        store: Store,
        transitions: Transitions,
        enqueuer: Enqueuer,
        principal: Principal,
        *,
        credential: str | None = None,
        origin: str | None = None,
        allow: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._transitions = transitions
        self._enqueuer = enqueuer
        self._principal = principal
        self._credential = credential or principal.credential
        self._origin = origin
        self._allow = allow

    async def tasks(self) -> list[Announcement]:
        """The tasks that may be queued. Raises Refused without the scope `read`."""
        self._principal.require("read")
        return [*(await self._enqueuer.announced()).values()]

    async def enqueue(
        self,
        task: str,
        params: Mapping[str, Any] | None = None,
        *,
        session_id: str,
        idempotency_key: str | None = None,
    ) -> Queued:
        """Queues a job. Raises Refused, TooMany, and as `Enqueuer.enqueue`."""
        self._principal.require("enqueue", session_id)
        self._allow()
        done = await self._enqueuer.enqueue(
            JobRequest(
                task=task, session_id=session_id, params=Raw(msgspec.json.encode(params or {}))
            ),
            credential=self._credential,
            origin=self._origin,
            idempotency_key=idempotency_key,
        )
        return Queued(job_id=done.job.id, status=done.job.status, job=done.job)

    async def job(self, job_id: str) -> Job:
        """A job, whole. Raises as `actions.visible_job`."""
        return await actions.visible_job(self._store, self._principal, job_id)

    async def jobs(
        self, *, session_id: str | None = None, status: Collection[str] = (), limit: int = 50
    ) -> JobPage:
        """A page of a session's jobs. Raises Refused."""
        self._principal.require("read" if session_id else "admin", session_id)
        return await self._store.jobs(session_id=session_id, status=frozenset(status), limit=limit)

    async def cancel(self, job_id: str) -> Job:
        """Asks for a job's end. Raises as `actions.cancel`."""
        await actions.cancel(self._store, self._transitions, self._principal, job_id)
        return await actions.visible_job(self._store, self._principal, job_id, "")

    async def answer(self, job_id: str, input_id: str, value: Any) -> Answered:
        """Answers a job's question. Raises as `actions.answer`."""
        return Answered(
            await actions.answer(
                self._store, self._transitions, self._principal, job_id, input_id, value
            )
        )

    async def logs(self, job_id: str, *, after: int = 0, limit: int = 1_000) -> LogPage:
        """Log lines after the line `after`. Raises as `job`."""
        await self.job(job_id)
        return await self._store.logs(job_id, after, limit)
