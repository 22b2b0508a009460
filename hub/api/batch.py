"""Many jobs queued by one call."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Final

from msgspec import Meta, Raw

from hub.api.operation import decode_body
from hub.api.shown import shown
from hub.auth import Principal
from hub.errors import BadInput, JobcastError
from hub.queueing import Enqueued
from hub.requests import JobRequest
from hub.responses import QueuedList, queued_item
from hub.services import Services

MAX_JOBS: Final = 100
JobList = Annotated[list[JobRequest], Meta(min_length=1, max_length=MAX_JOBS)]


def is_list(raw: bytes) -> bool:
    """Whether a body is a JSON list."""
    return raw.lstrip()[:1] == b"["


async def queue_list(
    services: Services, principal: Principal, raw: bytes, idempotency_key: str | None
) -> list[Enqueued | JobcastError]:
    """Queues each job of a JSON list, in one round trip to Redis; what is wrong with one does not
    concern the others. Raises Malformed, BadInput for a list that is too long or empty, and TooMany
    where the caller may not queue as many now."""
    items: list[Raw] = decode_body(raw, list[Raw])
    if not 1 <= len(items) <= MAX_JOBS:
        raise BadInput([("", f"a list must have 1 to {MAX_JOBS} jobs, and has {len(items):,}")])
    services.enqueue_limit.require(principal.credential, "jobs queued", len(items))
    return await services.enqueuer.enqueue_many(
        [_request(principal, bytes(item)) for item in items],
        credential=principal.credential,
        idempotency_key=idempotency_key,
        may_call_back=principal.is_key,
    )


def _request(principal: Principal, raw: bytes) -> JobRequest | JobcastError:
    try:
        request: JobRequest = decode_body(raw, JobRequest)
        principal.require("enqueue", request.session_id)
    except JobcastError as error:
        return error
    return request


def told(done: list[Enqueued | JobcastError], principal: Principal) -> QueuedList:
    """What became of each, as its caller may see it."""
    return QueuedList([queued_item(each, partial(shown, principal=principal)) for each in done])
