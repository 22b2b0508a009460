"""What a job is: its fields, its names, its id, and how a Redis hash becomes one.

No I/O. The statuses and the edges between them are in `hub.states`.
"""

from __future__ import annotations

import binascii
import hashlib
import os
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal

import msgspec
from msgspec import Raw, Struct

from hub.states import TERMINAL, Status

SESSION_ID: Final = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
TASK_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")
QUEUE_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
KEY_NAME: Final = re.compile(r"[A-Za-z0-9_.:/@-]{1,128}")
ID_NAME: Final = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
JOB_ID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")

#: The queue of the agent's own jobs, which are in no event, snapshot, list or webhook.
AGENT_QUEUE: Final = "agent"

#: Params, metadata and result larger than this are null (with `…_truncated`) in events / in lists.
EVENT_PART_BYTES: Final = 16 * 1024
LIST_PART_BYTES: Final = 1024


#: JSON of the user's: `Raw` bytes when read from Redis (they pass through untouched), plain
#: objects when decoded by a client.
Json = Any


class Progress(Struct, omit_defaults=True):
    """How far a job is. `percent` is 0–100; `current` of `total` are counts."""

    percent: float | None = None
    current: float | None = None
    total: float | None = None
    message: str | None = None


class JobError(Struct, omit_defaults=True):
    """Why a job failed, or why its last attempt did."""

    code: Literal[
        "error",
        "permanent",
        "timeout",
        "lost",
        "expired",
        "unknown_task",
        "invalid_params",
    ]
    message: str
    type: str | None = None
    traceback: str | None = None


class Input(Struct):
    """A question that a job asks a person. `confirm` needs the scope `approve`."""

    id: str
    kind: Literal["confirm", "question"]
    prompt: str
    options: list[str] | None = None
    schema: Json = None
    asked_at: str | None = None


class Job(Struct, kw_only=True):
    """A job as HTTP shows it: absent means null. Times are ISO 8601 UTC with milliseconds,
    durations are seconds."""

    id: str
    session_id: str
    task: str
    title: str | None = None
    status: Status
    rev: int
    params: Json = None
    params_truncated: bool = False
    queue: str | None = None
    priority: int = 5
    attempt: int = 1
    max_attempts: int = 1
    lost: int = 0
    released: int = 0
    progress: Progress | None = None
    log_lines: int = 0
    input: Input | None = None
    result: Json = None
    result_truncated: bool = False
    error: JobError | None = None
    worker: str | None = None
    key: str | None = None
    webhook_url: str | None = None
    metadata: Json = None
    metadata_truncated: bool = False
    retry_of: str | None = None
    retried_by: str | None = None
    parent_id: str | None = None
    created_at: str
    run_at: str | None = None
    started_at: str | None = None
    finished_at: str | None = None
    updated_at: str
    timeout: float | None = None
    stalled_since: str | None = None
    #: What keeps it from starting: `limit:…`, or `task:…` for which there is no worker.
    parked: str | None = None

    @property
    def terminal(self) -> bool:
        """Whether it has reached the one status that it ends in."""
        return self.status in TERMINAL

    def trimmed(self, limit: int = LIST_PART_BYTES) -> Job:
        """A copy whose params, metadata and result are null where larger than `limit` bytes,
        and which tells nothing that is for API keys and admins only."""
        changes: dict[str, Any] = {"webhook_url": None}
        for part in ("params", "metadata", "result"):
            raw = getattr(self, part)
            if raw is not None and len(bytes(raw)) > limit:
                changes[part] = None
                changes[part + "_truncated"] = True
        if self.error is not None and self.error.traceback is not None:
            changes["error"] = msgspec.structs.replace(self.error, traceback=None)
        return msgspec.structs.replace(self, **changes)


class NewJob(Struct, kw_only=True):
    """A job to be queued, checked by its caller: names fit their charsets, `params` is a JSON
    object within its bound. Times are ms since the epoch, durations seconds. `parent_token` is that
    of the claim whose code queues it, `limits` as `hub.limits.packed` makes them, `tasks_rev` that
    of the announcements under which the params were checked, or "" for any."""

    session_id: str
    task: str
    params: bytes = b"{}"
    title: str | None = None
    queue: str | None = "default"
    priority: int = 5
    key: str | None = None
    idempotency_key: str | None = None
    delay: float | None = None
    run_at: int | None = None
    expires_in: float | None = None
    timeout: float | None = None
    max_attempts: int = 1
    stall_after: float | None = None
    confirm: str | None = None
    webhook_url: str | None = None
    credential: str | None = None
    metadata: bytes | None = None
    retry_of: str | None = None
    parent_id: str | None = None
    parent_token: str | None = None
    limits: str | None = None
    origin: str | None = None
    tasks_rev: str = ""
    durable: bool = False


def new_job_id(session_id: str) -> str:
    """A UUIDv7 (RFC 9562) whose 12 `rand_a` bits are the low bits of CRC16(session_id) (the
    CRC that Redis Cluster uses), so that the id alone says which partition the job is in."""
    return _job_id(session_id, time.time_ns() // 1_000_000, os.urandom(8))


def job_id_for(session_id: str, ms: int, name: str) -> str:
    """The same for a job that is to be made once, however often that is tried: always the same id
    for a session, a time (ms since the epoch) and a name that is unique in that session."""
    digest = hashlib.sha256(f"{session_id}\0{name}".encode()).digest()
    return _job_id(session_id, ms, digest[:8])


def _job_id(session_id: str, ms: int, random: bytes) -> str:
    crc = binascii.crc_hqx(session_id.encode(), 0) & 0xFFF
    low = int.from_bytes(random, "big") & (2**62 - 1) | 2**63
    h = f"{ms:012x}7{crc:03x}{low:016x}"
    return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"


def iso(ms: int) -> str:
    """Milliseconds since the epoch as ISO 8601 UTC with milliseconds."""
    # Not by strftime, which takes ten times as long.
    at = datetime.fromtimestamp(ms // 1000, UTC).isoformat()
    return f"{at[:19]}.{ms % 1000:03d}Z"


_NAMES = (
    *("id", "session_id", "task", "status", "queue", "worker", "key"),
    *("retry_of", "retried_by", "parent_id"),
)
_COUNTS = ("rev", "priority", "attempt", "max_attempts", "lost", "released", "log_lines")
_TIMES = ("created_at", "run_at", "started_at", "finished_at", "updated_at", "stalled_since")
_RAW = ("params", "result", "metadata")


def job_from_hash(fields: Mapping[bytes, bytes]) -> Job:
    """The job that a Redis hash (as HGETALL answers it) holds. Fields it does not know, such as
    the token, are left out.

    Raises KeyError where a field that every job has is missing."""
    out: dict[str, Any] = {}
    for name in _NAMES:
        value = fields.get(name.encode())
        if value is not None:
            out[name] = value.decode()
    for name in _COUNTS:
        value = fields.get(name.encode())
        if value is not None:
            out[name] = int(value)
    for name in _TIMES:
        value = fields.get(name.encode())
        if value is not None:
            out[name] = iso(int(value))
    for name in _RAW:
        value = fields.get(name.encode())
        if value is not None:
            out[name] = Raw(value)
    if (value := fields.get(b"parked")) is not None and value != b"foreign":
        # Behind a bar is which of a limit's lists it is in.
        out["parked"] = value.decode().partition("|")[0]
    if (value := fields.get(b"timeout")) is not None:
        out["timeout"] = float(value)
    for name in ("title", "webhook_url"):
        if (value := fields.get(name.encode())) is not None:
            out[name] = msgspec.json.decode(value, type=str)
    if (value := fields.get(b"progress")) is not None:
        out["progress"] = msgspec.json.decode(value, type=Progress)
    if (value := fields.get(b"input")) is not None:
        out["input"] = msgspec.json.decode(value, type=Input)
    if (value := fields.get(b"error")) is not None:
        error = msgspec.json.decode(value, type=JobError)
        if (trace := fields.get(b"traceback")) is not None:
            error.traceback = msgspec.json.decode(trace, type=str)
        out["error"] = error
    for name in ("id", "session_id", "task", "status", "rev", "created_at", "updated_at"):
        if name not in out:
            raise KeyError(name)
    return Job(**out)
