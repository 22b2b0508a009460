"""`Jobs`: the client's calls on Redis itself, for back ends beside it that need no hub between."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Collection, Coroutine, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Final, Generic, ParamSpec, Self, overload

from hub import actions, keys
from hub.announcements import Announcement
from hub.calls import Calls
from hub.client.direct_webhooks import DirectWebhooks, checked, plain
from hub.client.errors import NotInTime
from hub.client.want import Wanted, wanted
from hub.connection import check_server, connect
from hub.enqueue import Enqueuer
from hub.errors import BadInput, JobcastError
from hub.events import ZERO
from hub.jobs import Job
from hub.pages import JobPage, LogPage, Snapshot
from hub.principal import Principal
from hub.requests import JobRequest
from hub.responses import Answered, Queued, QueuedItem, QueuedList, queued_item
from hub.scripts import Scripts
from hub.settings import Settings
from hub.store import Store
from hub.transitions import Transitions
from hub.webhooks.desk import DeliveryDesk
from hub.webhooks.history import History
from hub.webhooks.registry import Registry
from hub.webhooks.store import WebhookStore

__all__ = ["Jobs", "plain"]

P = ParamSpec("P")

#: An event that was trimmed before it was seen costs no more than this wait, in seconds.
LOOK_SECONDS: Final = 5.0


class _Enqueue(Generic[P]):
    """`enqueue`, with the arguments of every other client's."""

    def __init__(self, want: Callable[P, Wanted]) -> None:
        self._want = want
        self.__doc__ = want.__doc__

    @overload
    def __get__(self, jobs: None, owner: type[Jobs]) -> Self: ...

    @overload
    def __get__(
        self, jobs: Jobs, owner: type[Jobs]
    ) -> Callable[P, Coroutine[Any, Any, Queued]]: ...

    def __get__(
        self, jobs: Jobs | None, owner: type[Jobs]
    ) -> Self | Callable[P, Coroutine[Any, Any, Queued]]:
        if jobs is None:
            return self

        def enqueue(*args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, Queued]:
            return jobs.put(self._want(*args, **kwargs))

        return enqueue


class Jobs(DirectWebhooks):
    """Queues and reads jobs, and operates webhooks: `async with Jobs() as jobs`.

    `settings` are those of the hub and its workers (`JOBCAST_*` unless given); `name` stands for
    this back end where a hub would note an API key's name: it signs `webhook_url`s and keeps
    idempotency keys apart. Entering raises SettingsError where the server is not fit."""

    def __init__(self, settings: Settings | None = None, *, name: str = "jobs") -> None:
        self._settings = Settings.from_env() if settings is None else settings
        self._name = name
        self._principal = Principal("key", name)

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            redis = connect(self._settings.redis_url)
            stack.push_async_callback(redis.aclose)
            await check_server(redis)
            calls = await stack.enter_async_context(Calls(redis))
            self._open = stack.pop_all()
        scripts = Scripts(self._settings)
        self._store = Store(redis, scripts, calls)
        self._transitions = Transitions(redis, scripts)
        self._scripts = scripts
        self._enqueuer = Enqueuer(self._store, self._settings)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._open.aclose()

    enqueue = _Enqueue(wanted)

    async def put(self, want: Wanted) -> Queued:
        """What `enqueue` does, with its arguments made before."""
        done = await self._enqueuer.enqueue(
            checked(want.request),
            credential=self._name,
            idempotency_key=want.idempotency_key,
            may_call_back=True,
        )
        return _queued(done.job, done.token)

    async def enqueue_many(
        self, jobs: Sequence[Wanted], *, idempotency_key: str | None = None
    ) -> list[QueuedItem]:
        """Queues jobs (`wanted`) in one round trip, each by itself: in its place in the list stands
        the job, or the problem that it has. One `idempotency_key` stands for the whole list, whose
        own keys are not used. Raises Busy."""
        requests: list[JobRequest | JobcastError] = []
        for want in jobs:
            try:
                requests.append(checked(want.request))
            except BadInput as error:
                requests.append(error)
        done = await self._enqueuer.enqueue_many(
            requests,
            credential=self._name,
            idempotency_key=idempotency_key,
            may_call_back=True,
        )
        return plain(QueuedList([queued_item(each) for each in done])).jobs

    async def job(self, job_id: str) -> Job:
        """A job, whole. Raises NotFound."""
        return plain(await self._job(job_id))

    async def jobs(
        self,
        *,
        session_id: str | None = None,
        status: Collection[str] = (),
        task: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> JobPage:
        """A page of jobs, newest first, as `Client.jobs`."""
        page = await self._store.jobs(
            session_id=session_id, status=frozenset(status), task=task, limit=limit, cursor=cursor
        )
        return plain(page)

    async def cancel(self, job_id: str) -> Job:
        """Asks for a job's end; again is once. Raises NotFound, Conflict when it had ended."""
        await actions.cancel(self._store, self._transitions, self._principal, job_id)
        return await self.job(job_id)

    async def retry(self, job_id: str) -> Queued:
        """A new job that does what an ended one did. Raises NotFound, Conflict, BadInput."""
        done = await self._enqueuer.retry(await self._job(job_id), credential=self._name)
        return _queued(done.job, done.token)

    async def answer(self, job_id: str, input_id: str, value: Any) -> Answered:
        """Answers a job's question; again is once. Raises NotFound, Conflict, BadInput."""
        return Answered(
            await actions.answer(
                self._store, self._transitions, self._principal, job_id, input_id, value
            )
        )

    async def logs(self, job_id: str, *, after: int = 0, limit: int = 1_000) -> LogPage:
        """Lines of a job's log after the line `after`. Raises NotFound."""
        await self._job(job_id)
        return await self._store.logs(job_id, after, limit)

    async def session(self, session_id: str) -> Snapshot:
        """The picture of a session: at most 100 jobs, live ones first, and 200 messages."""
        return plain(await self._store.snapshot(session_id))

    async def tasks(self) -> list[Announcement]:
        """The tasks that may be queued; `params` is a JSON Schema, as JSON."""
        return [*(await self._enqueuer.announced()).values()]

    async def wait(
        self, job_id: str, *, timeout: float | None = None, questions: bool = False
    ) -> Job:
        """The job once it has ended, or asks a person; with `questions`, only once it has ended.
        Blocks on the session's events and polls nothing. Raises NotInTime, NotFound."""
        loop = asyncio.get_running_loop()
        until = math.inf if timeout is None else loop.time() + timeout
        stream = keys.events((await self._job(job_id)).session_id)
        while True:
            [top] = await self._store.redis.xrevrange(stream, count=1) or [(ZERO, None)]
            found = await self._job(job_id)
            if found.terminal or (found.status == "input_required" and not questions):
                return plain(found)
            left = until - loop.time()
            if left <= 0:
                raise NotInTime(f"Job {job_id} is still {found.status} after {timeout:g} s.")
            block = max(1, int(min(left, LOOK_SECONDS) * 1000))
            await self._store.redis.xread({stream: top[0]}, count=1, block=block)

    async def _job(self, job_id: str) -> Job:
        return await actions.visible_job(self._store, self._principal, job_id)

    def _registry(self) -> Registry:
        return Registry(WebhookStore(self._store.redis, self._scripts), self._settings)

    def _desk(self) -> DeliveryDesk:
        return DeliveryDesk(History(self._store.redis, self._scripts), self._registry())


def _queued(job: Job, token: str | None) -> Queued:
    return Queued(job_id=job.id, status=job.status, job=plain(job), token=token)
