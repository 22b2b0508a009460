"""A job that somebody wants queued: the arguments of `enqueue`, in one place."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET, Raw, UnsetType

from hub.requests import JobRequest


class Wanted(NamedTuple):
    """A request and the key that makes repeating it harmless."""

    request: JobRequest
    idempotency_key: str | None


def wanted(
    task: str,
    params: Mapping[str, Any] | None = None,
    *,
    session_id: str,
    key: str | None = None,
    title: str | None = None,
    queue: str | UnsetType | None = UNSET,
    priority: int | None = None,
    delay: float | None = None,
    run_at: datetime | None = None,
    expires_in: float | None = None,
    timeout: float | None = None,
    max_attempts: int | None = None,
    durable: bool = False,
    webhook_url: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    idempotency_key: str | None = None,
) -> Wanted:
    """Queues a job; one that a live `key` of the session or a known `idempotency_key` names is
    found instead.

    `params` fit the task's JSON Schema. Durations are seconds, `run_at` has a time zone, smaller
    `priority` goes first (0–9, 5 unless said), and `durable` waits for the disk. `queue=None` is
    for a job that somebody else's queue runs: the answer has the `token` for `tell`. Without an
    `idempotency_key` one is made, so that a call whose answer was lost is repeated safely (but
    for `queue=None`, whose token is told once).

    Raises BadInput naming each field that does not fit, Refused, Conflict, Busy."""
    request = JobRequest(
        task=task,
        session_id=session_id,
        params=Raw(msgspec.json.encode({} if params is None else params)),
        key=key,
        title=title,
        queue=queue,
        priority=priority,
        delay=delay,
        run_at=run_at,
        expires_in=expires_in,
        timeout=timeout,
        max_attempts=max_attempts,
        durable=durable,
        webhook_url=webhook_url,
        metadata=UNSET if metadata is None else Raw(msgspec.json.encode(metadata)),
    )
    if idempotency_key is None and queue is not None:
        idempotency_key = uuid.uuid4().hex
    return Wanted(request, idempotency_key)
