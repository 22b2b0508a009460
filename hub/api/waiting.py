"""Waiting for a job without polling: the session's publications say when to look again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.requests import Request

from hub.errors import NotFound
from hub.events import Publication
from hub.jobs import Job
from hub.services import Services, services_of
from hub.waits import first


async def wait_for(request: Request, job: Job, done: Callable[[Job], bool], seconds: float) -> Job:
    """The job once `done` holds, or as it is after `seconds`; earlier where the hub drains or
    the caller is gone. Raises NotFound when it is deleted meanwhile."""
    services = services_of(request)
    changed = asyncio.Event()
    job_id = job.id.encode()
    over = asyncio.Event()
    until = asyncio.get_running_loop().time() + seconds

    def heard(publication: Publication) -> None:
        if publication.kind == "X" or (publication.kind == "L" and publication.key == job_id):
            changed.set()

    async with services.fanout.listening(job.session_id, heard):
        while True:
            changed.clear()
            # Looked at after the listening began: what happened before is in Redis.
            job = await _look(services, job.id)
            left = until - asyncio.get_running_loop().time()
            if done(job) or left <= 0 or over.is_set() or services.draining.is_set():
                return job
            await first(left, changed.wait(), services.draining.wait(), _gone(request, over))


async def _look(services: Services, job_id: str) -> Job:
    job = await services.store.job(job_id)
    if job is None:
        raise NotFound(f"There is no job {job_id}.")
    return job


async def _gone(request: Request, over: asyncio.Event) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    over.set()
