"""Queueing a job for whoever asks (a caller over HTTP, the agent): what is asked for, checked
against what the task's workers announced, with the announcement's defaults."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw

from hub.announcements import Announcement, Announcements
from hub.errors import AnnouncedAnew, BadInput, Conflict, JobcastError
from hub.jobs import AGENT_QUEUE, Job, NewJob
from hub.limits import packed
from hub.queueing import Enqueued
from hub.requests import MAX_AHEAD, JobRequest
from hub.schema import BadSchema, check
from hub.settings import Settings
from hub.store import Store
from hub.webhooks.guard import Refused as UrlRefused
from hub.webhooks.guard import check_url, parse_networks

_PLACEHOLDER: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_FILLED_CHARS: Final = 120


class Enqueuer:
    """Checks requests and queues them. Raises SettingsError for a bad `webhook_allow_nets`."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings
        self._announcements = Announcements(store.redis)
        self._nets = parse_networks(settings.webhook_allow_nets)

    async def enqueue(
        self,
        request: JobRequest,
        *,
        credential: str,
        idempotency_key: str | None = None,
        may_call_back: bool = False,
        origin: str | None = None,
        parent_id: str | None = None,
        parent_token: str | None = None,
        job_id: str | None = None,
    ) -> Enqueued:
        """Queues a job, or finds the one that its live `key` or its idempotency key names, or
        that has this `job_id`.

        `credential` is whose job it is: idempotency keys of two credentials, or of one in two
        sessions, never meet. `may_call_back` allows `webhook_url`. Raises BadInput with a pointer
        for each field, Conflict when an idempotency key was used for something else, and what
        `Store.enqueue` raises."""
        for attempt in range(3):
            rev, announced = await self._announcements.of([request.task])
            try:
                new = await self._prepare(request, announced, credential, may_call_back)
                new.tasks_rev = rev if attempt < 2 else ""
                new.origin, new.parent_id, new.parent_token = origin, parent_id, parent_token
                if idempotency_key is not None:
                    new.idempotency_key = _digest(request.session_id, idempotency_key)
                return _checked(new, await self._store.enqueue(new, job_id))
            except BadInput:
                # It may be right by what is announced now.
                if attempt > 0:
                    raise
            except AnnouncedAnew:
                pass
            self._announcements.forget()
        raise AssertionError("the last one is queued whatever is announced meanwhile")

    async def enqueue_many(
        self,
        requests: Sequence[JobRequest | JobcastError],
        *,
        credential: str,
        idempotency_key: str | None = None,
        may_call_back: bool = False,
    ) -> list[Enqueued | JobcastError]:
        """Queues many jobs in one round trip. In place of one that cannot be queued stands the
        error that `enqueue` raises, or the one that stood in its place before. With an
        `idempotency_key` the same list again finds the same jobs, each by its place."""
        tasks = {each.task for each in requests if isinstance(each, JobRequest)}
        self._announcements.forget()
        _, announced = await self._announcements.of(sorted(tasks))
        out: list[NewJob | JobcastError] = []
        for place, request in enumerate(requests):
            if isinstance(request, JobcastError):
                out.append(request)
                continue
            try:
                new = await self._prepare(request, announced, credential, may_call_back)
            except BadInput as error:
                out.append(error)
                continue
            if idempotency_key is not None:
                new.idempotency_key = _digest(request.session_id, f"{idempotency_key}\n{place}")
            out.append(new)
        news = [each for each in out if isinstance(each, NewJob)]
        queued = iter(zip(news, await self._store.enqueue_many(news), strict=True))
        return [each if isinstance(each, JobcastError) else _outcome(*next(queued)) for each in out]

    async def _prepare(
        self,
        request: JobRequest,
        known: Mapping[str, Announcement],
        credential: str,
        may_call_back: bool,
    ) -> NewJob:
        errors: list[tuple[str, str]] = []
        new = NewJob(
            session_id=request.session_id,
            task=request.task,
            params=self._object(request.params, "/params", errors),
            title=request.title,
            key=request.key,
            priority=5 if request.priority is None else request.priority,
            delay=request.delay,
            expires_in=request.expires_in,
            timeout=request.timeout,
            metadata=(
                None
                if request.metadata is UNSET or bytes(request.metadata) == b"null"
                else self._object(request.metadata, "/metadata", errors)
            ),
            webhook_url=request.webhook_url,
            credential=credential,
            durable=request.durable,
        )
        if request.run_at is not None:
            new.run_at = _due(request, errors)
        self._check_webhook(request.webhook_url, may_call_back, errors)
        if request.queue is None:
            _check_foreign(request, errors)
            new.queue = None
        elif (announced := known.get(request.task)) is not None:
            self._apply(request, announced, new, errors)
        else:
            errors.append(("/task", await self._unknown(request.task)))
        if errors:
            raise BadInput(errors)
        return new

    async def retry(self, job: Job, *, credential: str) -> Enqueued:
        """A new job that does what a terminal one did. Its params are checked anew, and a task
        with a confirm asks anew. Raises as `enqueue`, and Conflict while the job is live."""
        if job.queue == AGENT_QUEUE:
            raise Conflict("The agent's own jobs cannot be retried.")
        kept = await self._store.job_fields(job.id, "credential", "origin", "ref")
        if kept[2] is not None:
            theirs = kept[2].partition(":")[0]
            raise Conflict(f"The job is run by {theirs}: only there it can be queued once more.")
        errors: list[tuple[str, str]] = []
        new = NewJob(
            session_id=job.session_id,
            task=job.task,
            params=bytes(job.params or b"{}"),
            title=job.title,
            queue=job.queue,
            priority=job.priority,
            key=job.key,
            timeout=job.timeout,
            max_attempts=job.max_attempts,
            metadata=None if job.metadata is None else bytes(job.metadata),
            webhook_url=job.webhook_url,
            # Its webhook is signed with the secret of whoever gave the URL.
            credential=kept[0] if job.webhook_url else credential,
            origin=kept[1],
            retry_of=job.id,
            parent_id=job.parent_id,
        )
        if job.queue is not None:
            self._announcements.forget()
            _, known = await self._announcements.of([job.task])
            if (announced := known.get(job.task)) is not None:
                self._fit(announced, new, errors)
            else:
                errors.append(("/task", await self._unknown(job.task)))
        if errors:
            raise BadInput(errors)
        return await self._store.enqueue(new)

    async def announced(self) -> dict[str, Announcement]:
        """The tasks that may be queued, by name."""
        return await self._announcements.all()

    async def _unknown(self, task: str) -> str:
        known = ", ".join(await self.announced())
        if known:
            return f"no worker has announced {task!r}; announced are: {known}"
        return f"no worker has announced {task!r}, nor any other task: start a worker"

    def _apply(
        self,
        request: JobRequest,
        announced: Announcement,
        new: NewJob,
        errors: list[tuple[str, str]],
    ) -> None:
        new.queue = announced.queue if request.queue is UNSET else request.queue
        if new.queue == AGENT_QUEUE:
            errors.append(("/queue", f"{AGENT_QUEUE} is for the agent's own jobs"))
        new.timeout = announced.timeout if request.timeout is None else request.timeout
        new.max_attempts = (
            announced.max_attempts if request.max_attempts is None else request.max_attempts
        )
        self._fit(announced, new, errors)

    def _fit(self, announced: Announcement, new: NewJob, errors: list[tuple[str, str]]) -> None:
        """Checks the params, and what follows from them: limits, what is asked and shown."""
        params = msgspec.json.decode(new.params)
        schema = bytes(announced.params)
        if any(pointer == "/params" for pointer, _ in errors):
            return
        try:
            errors += check(schema, params, "/params")
        except BadSchema as error:
            errors.append(("/task", f"its workers announced an unusable JSON Schema: {error}"))
        new.stall_after = announced.stall_after
        known = {**_defaults(schema), **params}
        new.limits = packed(
            announced.limits,
            new.task,
            new.session_id,
            known,
            self._settings.session_concurrency,
        )
        if announced.confirm is not None:
            new.confirm = filled(announced.confirm, schema, params)
        if new.title is None and announced.title is not None:
            new.title = filled(announced.title, schema, params)[:200]

    def _object(self, raw: Raw, pointer: str, errors: list[tuple[str, str]]) -> bytes:
        """A JSON object without the spaces between its parts: events are single lines."""
        most = self._settings.params_bytes
        try:
            value = msgspec.json.decode(raw)
        except msgspec.ValidationError as error:
            errors.append((pointer, str(error)))
            return b"{}"
        compact = bytes(msgspec.json.format(bytes(raw), indent=-1))
        if not isinstance(value, dict):
            errors.append((pointer, "must be a JSON object"))
            return b"{}"
        if len(compact) > most:
            errors.append((pointer, f"must have at most {most} bytes, and has {len(compact)}"))
        return compact

    def _check_webhook(
        self, url: str | None, may_call_back: bool, errors: list[tuple[str, str]]
    ) -> None:
        if url is None:
            return
        if not may_call_back:
            errors.append(("/webhook_url", "is for API keys only"))
            return
        try:
            check_url(url, allow_http=self._settings.webhook_allow_http, allow_nets=self._nets)
        except UrlRefused as error:
            errors.append(("/webhook_url", str(error)))


def filled(template: str, schema: bytes, params: dict[str, Any]) -> str:
    """A template such as `Deploy to {environment}?` with the params, or the schema's defaults, in
    its braces. A name that has neither stays as it is."""
    known = msgspec.json.decode(schema).get("properties", {})

    def value(match: re.Match[str]) -> str:
        name = match[1]
        if name in params:
            return _short(params[name])
        default = known.get(name, {}).get("default")
        return match[0] if default is None else _short(default)

    return _PLACEHOLDER.sub(value, template)


def _defaults(schema: bytes) -> dict[str, Any]:
    properties = msgspec.json.decode(schema).get("properties", {})
    return {
        name: value["default"]
        for name, value in properties.items()
        if isinstance(value, dict) and "default" in value
    }


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    line = " ".join(text.split())
    return line if len(line) <= _FILLED_CHARS else line[: _FILLED_CHARS - 1] + "…"


def _digest(session_id: str, key: str) -> str:
    return hashlib.sha256(f"{session_id}\n{key}".encode()).hexdigest()


def _due(request: JobRequest, errors: list[tuple[str, str]]) -> int:
    at = 0.0 if request.run_at is None else request.run_at.timestamp()
    if request.delay is not None:
        errors.append(("/run_at", "must not be given together with delay"))
    if at > time.time() + MAX_AHEAD:
        errors.append(("/run_at", f"must be within {MAX_AHEAD // 86_400} days"))
    return int(at * 1000)


def _check_foreign(request: JobRequest, errors: list[tuple[str, str]]) -> None:
    errors += [
        (f"/{name}", "is up to the queue that runs the job, since queue is null")
        for name in ("delay", "run_at", "expires_in", "max_attempts", "timeout")
        if getattr(request, name) is not None
    ]


def _checked(new: NewJob, done: Enqueued) -> Enqueued:
    """An idempotency key stands for one request; a live `key` may be found with other params."""
    if done.created or new.idempotency_key is None:
        return done
    found = done.job
    if new.key is not None and found.key == new.key and not found.terminal:
        return done
    if found.task != new.task or bytes(found.params or b"") != new.params:
        raise Conflict("The Idempotency-Key was used for another request.")
    return done


def _outcome(new: NewJob, done: Enqueued | JobcastError) -> Enqueued | JobcastError:
    if isinstance(done, JobcastError):
        return done
    try:
        return _checked(new, done)
    except Conflict as error:
        return error
