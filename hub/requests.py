"""What callers ask for, as structs: they decode requests and make `/openapi.json`. No I/O."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from hub.fields import (
    InputId,
    JobId,
    KeyName,
    MessageId,
    Object,
    QueueName,
    SessionId,
    TaskName,
)
from hub.jobs import Progress

DAY = 86_400
MAX_AHEAD = 366 * DAY
MAX_TEXT_CHARS = 16_000


class Nothing(Struct, forbid_unknown_fields=True):
    """An empty object; the body may be left out."""


class JobRequest(Struct, kw_only=True, forbid_unknown_fields=True):
    """A job to be queued. `queue: null` is for a job that somebody else's queue runs."""

    task: TaskName
    session_id: SessionId
    params: Object = msgspec.field(default_factory=lambda: Raw(b"{}"))
    key: Annotated[
        KeyName | None,
        Meta(description="While a job of the session with this key is live, there is no second."),
    ] = None
    title: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    queue: QueueName | UnsetType | None = UNSET
    priority: Annotated[int, Meta(ge=0, le=9, description="Smaller first.")] | None = None
    delay: Annotated[float, Meta(ge=0, le=MAX_AHEAD, description="Seconds.")] | None = None
    run_at: Annotated[datetime, Meta(tz=True, description="Not together with delay.")] | None = None
    expires_in: (
        Annotated[
            float,
            Meta(gt=0, le=MAX_AHEAD, description="Seconds after which nobody need start it."),
        ]
        | None
    ) = None
    timeout: Annotated[float, Meta(gt=0, le=7 * DAY, description="Seconds.")] | None = None
    max_attempts: Annotated[int, Meta(ge=1, le=100)] | None = None
    durable: Annotated[bool, Meta(description="Wait for the disk before the 202.")] = False
    webhook_url: Annotated[str, Meta(max_length=2_048, description="For API keys only.")] | None = (
        None
    )
    metadata: Object | UnsetType = UNSET


class InputRequest(Struct, kw_only=True, forbid_unknown_fields=True):
    """An answer to a job's question."""

    input_id: InputId
    value: Any


class MessageRequest(Struct, kw_only=True, forbid_unknown_fields=True):
    """What a person says. `role: agent` and `job_id` are for API keys."""

    text: Annotated[str, Meta(min_length=1, max_length=MAX_TEXT_CHARS)]
    message_id: MessageId | None = None
    role: Literal["user", "agent"] = "user"
    job_id: JobId | None = None


class TokenRequest(Struct, kw_only=True, forbid_unknown_fields=True):
    """A token to be minted (with an API key), renewed (with a token) or exchanged (`code`)."""

    code: Annotated[str, Meta(min_length=1, max_length=128)] | None = None
    sub: Annotated[str, Meta(min_length=1, max_length=128)] | None = None
    sessions: list[str] | None = None
    scope: str | None = None
    ttl: Annotated[float, Meta(description="Seconds.")] | None = None


class LogText(Struct, kw_only=True, forbid_unknown_fields=True):
    """One line that somebody else's queue logs."""

    text: str
    stream: Literal["stdout", "stderr"] = "stdout"


class ForeignError(Struct, kw_only=True, forbid_unknown_fields=True):
    """Why somebody else's queue failed a job."""

    message: Annotated[str, Meta(max_length=8_192)]
    code: Literal["error", "permanent", "timeout"] = "error"
    type: Annotated[str, Meta(max_length=200)] | None = None
    traceback: Annotated[str, Meta(max_length=65_536)] | None = None


class ForeignProgress(
    Progress, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="progress"
):
    """How far the job is."""


class ForeignLog(Struct, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="log"):
    """Lines of the job's log; the hub numbers them."""

    lines: Annotated[list[LogText], Meta(min_length=1, max_length=1_000)]


class ForeignCompleted(
    Struct, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="completed"
):
    """The job is done."""

    result: Annotated[Raw, Meta(description="Any JSON value.")] = msgspec.field(
        default_factory=lambda: Raw(b"null")
    )


class ForeignFailed(
    Struct, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="failed"
):
    """The job failed, for good."""

    error: ForeignError


class ForeignCancelled(
    Struct, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="cancelled"
):
    """The job was given up."""


ForeignEvent = ForeignProgress | ForeignLog | ForeignCompleted | ForeignFailed | ForeignCancelled


class ForeignEvents(Struct, kw_only=True, forbid_unknown_fields=True):
    """What somebody else's queue tells of a job. No events: a sign of life."""

    token: Annotated[str, Meta(min_length=1, max_length=64, description="From the 202.")]
    events: Annotated[list[ForeignEvent], Meta(max_length=100)] = []
