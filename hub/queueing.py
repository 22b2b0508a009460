"""How new jobs go to Redis: the script `enqueue`, for one job or for many in one round trip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec
from redis.exceptions import NoScriptError, OutOfMemoryError

from hub.errors import (
    AnnouncedAnew,
    BadInput,
    Busy,
    Conflict,
    JobcastError,
    NotFound,
    ParentCancelled,
    StaleToken,
)
from hub.jobs import Job, NewJob, job_from_hash, new_job_id
from hub.scripts import Arg, Script, Scripts, text

#: Seconds after which somebody else's queue that says nothing has lost its job.
STALL_DEADLINE: Final = 3_600.0
#: Seconds that the disk has to confirm a durable job.
DURABLE_WAIT: Final = 5.0
FULL: Final = "Redis has reached its maxmemory: nothing more can be queued."


class Enqueued(NamedTuple):
    """A queued job; `created` is False when it was there already. `token` is set for a new job
    of somebody else's queue."""

    job: Job
    created: bool
    token: str | None = None


def read_reply(reply: Any, new: NewJob, own_id: str) -> Enqueued:
    """What the script answered; `own_id` is the id that was drawn for this call.

    Raises Busy, NotFound, Conflict, AnnouncedAnew, StaleToken, ParentCancelled."""
    word = reply[0]
    if word == b"announced":
        raise AnnouncedAnew("Tasks were announced otherwise since the job was checked.")
    if word == b"busy":
        raise Busy(f"{int(reply[1])} events wait for webhooks: nothing more can be queued.")
    if word == b"gone":
        raise NotFound(f"There is no job {new.retry_of}.")
    if word == b"stale":
        raise StaleToken(f"The claim of the parent {new.parent_id} is over.")
    if word == b"cancelling":
        raise ParentCancelled(f"The parent {new.parent_id} is being cancelled.")
    if word == b"live":
        raise Conflict(f"The job is {text(reply[1])}; only a job that has ended can be retried.")
    fields: dict[bytes, bytes] = dict(zip(reply[1][::2], reply[1][1::2], strict=True))
    # An id that was drawn for this call is found only when the call is repeated after its reply
    # was lost: the first one queued the job.
    created = word == b"new" or fields[b"id"] == own_id.encode()
    token = fields.get(b"token") if created and b"foreign" in fields else None
    return Enqueued(job_from_hash(fields), created, None if token is None else text(token))


async def queue_all(
    redis: Any, scripts: Scripts, news: Sequence[NewJob], ids: Sequence[str | None] = ()
) -> list[Enqueued | JobcastError]:
    """Queues jobs in one round trip, each atomically and by itself: one that cannot be queued is
    an error in its place, and does not concern the others. Where one is `durable`, the disk is
    waited for once, after all of them."""
    durable = any(new.durable for new in news)
    refused = await _no_durable(redis) if durable else None
    out: list[Enqueued | JobcastError | None] = [
        refused if new.durable and refused else None for new in news
    ]
    calls = []
    for at, new in enumerate(news):
        if out[at] is None:
            own_id = new_job_id(new.session_id)
            calls.append((at, own_id, enqueue_args(new, (ids[at] if ids else None) or own_id)))
    wait = durable and refused is None
    replies = await _pipelined(redis, scripts["enqueue"], [args for _, _, args in calls], wait)
    kept = not wait or replies.pop()[0] >= 1
    for (at, own_id, _), reply in zip(calls, replies, strict=True):
        out[at] = _read(reply, news[at], own_id, kept)
    return [done for done in out if done is not None]


def _read(reply: Any, new: NewJob, own_id: str, kept: bool) -> Enqueued | JobcastError:
    if isinstance(reply, OutOfMemoryError):
        return Busy(FULL)
    if isinstance(reply, Exception):
        raise reply
    try:
        done = read_reply(reply, new, own_id)
    except JobcastError as error:
        return error
    if new.durable and done.created and not kept:
        return Busy("The job is queued, but the disk did not confirm it in time.")
    return done


async def _pipelined(
    redis: Any, script: Script, calls: Sequence[Sequence[Arg]], wait: bool
) -> list[Any]:
    pipe = redis.pipeline(transaction=False)
    for args in calls:
        pipe.evalsha(script.sha, *script.args(args))
    if wait:
        pipe.execute_command("WAITAOF", 1, 0, int(DURABLE_WAIT * 1000))
    if not len(pipe):
        return []
    replies: list[Any] = await pipe.execute(raise_on_error=False)
    if any(isinstance(reply, NoScriptError) for reply in replies):
        await redis.script_load(script.source)
        # Those that were queued already are found by their ids.
        return await _pipelined(redis, script, calls, wait)
    return replies


async def _no_durable(redis: Any) -> BadInput | None:
    """Why this server cannot wait for its disk, or None when it can."""
    server = await redis.info("server")
    persistence = await redis.info("persistence")
    version = tuple(int(part) for part in str(server["redis_version"]).split(".")[:2])
    if version < (7, 2) or not persistence.get("aof_enabled"):
        return BadInput(
            [("/durable", "needs a server of version 7.2 or later with appendonly yes")]
        )
    return None


def enqueue_args(new: NewJob, job_id: str) -> list[Arg]:
    """The arguments of the script `enqueue`."""
    confirm, input_id = b"", ""
    if new.confirm is not None:
        input_id = "confirm"
        confirm = msgspec.json.encode(
            {
                "id": input_id,
                "kind": "confirm",
                "prompt": new.confirm,
                "options": ["yes", "no"],
                "schema": None,
            }
        )[1:-1]
    args: list[Arg] = [
        job_id,
        f"{new.credential or '-'}:{new.idempotency_key}" if new.idempotency_key else "",
        "" if new.run_at is None else new.run_at,
        "" if new.delay is None else int(new.delay * 1000),
        "" if new.expires_in is None else int(new.expires_in * 1000),
        confirm,
        input_id,
        int(STALL_DEADLINE * 1000) if new.queue is None else "",
        new.parent_token or "",
        new.tasks_rev,
    ]
    fields: dict[str, str | bytes | None] = {
        "session_id": new.session_id,
        "task": new.task,
        "title": None if new.title is None else msgspec.json.encode(new.title),
        "params": new.params,
        "queue": new.queue,
        "priority": str(new.priority),
        "max_attempts": str(new.max_attempts),
        "key": new.key,
        "timeout": None if new.timeout is None else f"{new.timeout:g}",
        "webhook_url": None if new.webhook_url is None else msgspec.json.encode(new.webhook_url),
        "credential": new.credential,
        "metadata": new.metadata,
        "retry_of": new.retry_of,
        "parent_id": new.parent_id,
        "limits": new.limits,
        "stall_after": None if new.stall_after is None else str(int(new.stall_after * 1000)),
        "origin": new.origin,
    }
    for name, value in fields.items():
        if value is not None:
            args += [name, value]
    return args
