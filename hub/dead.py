"""Dead jobs, those that failed for good: listed, retried, purged."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from hub.enqueue import Enqueuer
from hub.errors import BadInput, Conflict, NotFound
from hub.jobs import Job
from hub.pages import JobPage
from hub.scripts import Scripts
from hub.store import Store

#: Jobs that one call retries or purges.
MOST = 100


class Retried(Struct):
    """A dead job and the one that does the same again."""

    job_id: str
    new_job_id: str


class NotRetried(Struct):
    """A dead job that stays dead, and why."""

    job_id: str
    detail: str


class RetriedList(Struct):
    """What came of retrying. `more`: there may be others that were meant; ask again."""

    retried: list[Retried]
    failed: list[NotRetried]
    more: bool = False


class Purged(Struct):
    """How many were deleted. `more`: there may be others that were meant; ask again."""

    purged: int
    more: bool = False


class Dead:
    """The dead jobs of all sessions."""

    def __init__(self, store: Store, scripts: Scripts, enqueuer: Enqueuer) -> None:
        self._store = store
        self._scripts = scripts
        self._enqueuer = enqueuer

    async def page(
        self, task: str | None = None, limit: int = 50, cursor: str | None = None
    ) -> JobPage:
        """A page of them, the last to fail first. Raises BadInput for a cursor that is none."""
        return await self._store.dead(task=task, limit=limit, cursor=cursor)

    async def retry(
        self, ids: Sequence[str] | None, task: str | None, credential: str
    ) -> RetriedList:
        """Queues anew what these jobs did, or, without ids, those of the task, or all: at most
        100 in a call. They are dead no more."""
        jobs, more = await self._meant(ids, task)
        out = RetriedList([], [], more)
        for job_id, job in jobs.items():
            try:
                if job is None:
                    raise NotFound(f"There is no job {job_id}.")
                done = await self._enqueuer.retry(job, credential=credential)
            except (BadInput, Conflict, NotFound) as error:
                out.failed.append(NotRetried(job_id, str(error)))
            else:
                out.retried.append(Retried(job_id, done.job.id))
        # What cannot be retried would be found again for ever.
        out.more = more and bool(out.retried)
        return out

    async def purge(self, ids: Sequence[str] | None, task: str | None) -> Purged:
        """Deletes these dead jobs and their logs, or, without ids, those of the task, or all: at
        most 100 in a call. What has not failed is left alone."""
        jobs, more = await self._meant(ids, task)
        count = await self._scripts.run(self._store.redis, "purge", *jobs) if jobs else 0
        return Purged(int(count), more)

    async def _meant(
        self, ids: Sequence[str] | None, task: str | None
    ) -> tuple[dict[str, Job | None], bool]:
        if ids is None:
            page = await self._store.dead(task=task, limit=MOST, whole=True)
            return {job.id: job for job in page.jobs}, page.more is not None
        found = {job.id: job for job in await self._store.jobs_by_id(ids)}
        return {job_id: found.get(job_id) for job_id in dict.fromkeys(ids)}, False
