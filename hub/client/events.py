"""What a subscription yields, typed. No I/O.

Event = Hello | JobEvent | ProgressEvent | LogEvent | LogGap | MessageEvent | PartialMessage
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw, Struct

from hub.jobs import Job, Progress
from hub.pages import Message


class Hello(Struct, kw_only=True):
    """The subscription stands. Yielded whenever it does so anew.

    `resumed`: nothing was missed, what happened since follows, and `jobs` brings the live ones
    up to date. Not `resumed`: this is the whole picture, and replaces what you hold; `more` is
    the cursor of `jobs()` for those that are not in it."""

    session_id: str
    cursor: str
    resumed: bool
    jobs: list[Job]
    messages: list[Message]
    more: str | None = None
    time: str | None = None


class JobEvent(Struct, kw_only=True):
    """A lifecycle event of a job: `type` is `job.<status>`, `data` its changed fields."""

    cursor: str
    type: str
    session_id: str
    job_id: str
    rev: int
    time: str
    data: dict[str, Any]

    @property
    def status(self) -> str:
        """The status that the job has moved to."""
        return self.type.removeprefix("job.")


class ProgressEvent(Struct, kw_only=True):
    """How far a job is; the latest is all that is ever sent."""

    session_id: str
    job_id: str
    rev: int
    time: str
    progress: Progress | None


class Line(Struct):
    """One line of a log."""

    text: str
    stream: str = "stdout"


class LogEvent(Struct, kw_only=True):
    """Lines of a job's log; `line` is the number of the first."""

    session_id: str
    job_id: str
    line: int
    time: str
    lines: list[Line]


class LogGap(Struct, kw_only=True):
    """The lines `first` to `last` (inclusive) were not sent: read them with `logs()`."""

    session_id: str
    job_id: str
    first: int
    last: int


class MessageEvent(Struct, kw_only=True):
    """A lifecycle event of a session: somebody said something."""

    cursor: str
    session_id: str
    message: Message


class PartialMessage(Struct, kw_only=True):
    """What a message that is still being written says so far."""

    session_id: str
    message_id: str
    text: str


Event = Hello | JobEvent | ProgressEvent | LogEvent | LogGap | MessageEvent | PartialMessage


class Frame(Struct, kw_only=True):
    """Whatever a hub sends, before it is looked at; members of other types are left out."""

    type: str
    id: str | None = None
    ref: str | int | None = None
    session_id: str = ""
    job_id: str = ""
    rev: int = 0
    line: int = 0
    time: str = ""
    data: Raw = Raw(b"{}")
    cursor: str = ""
    cursors: dict[str, str] = {}
    code: int = 0
    detail: str | None = None
    reconnect_after: float | None = None


class _Progressed(Struct):
    progress: Progress | None = None


class _Logged(Struct):
    lines: list[Line] = []


class _Gap(Struct, rename={"first": "from", "last": "to"}):
    first: int
    last: int


class _Partial(Struct):
    message_id: str
    text: str


class _Said(_Partial):
    job_id: str | None = None


def event_of(frame: Frame, raw: bytes) -> Event | None:
    """The event that a frame is; None for other frames, and for types of later versions.

    Raises msgspec.MsgspecError for one that is not as its type says."""
    decode = msgspec.json.decode
    match frame.type:
        case "hello":
            return decode(raw, type=Hello)
        case "job.progress":
            return ProgressEvent(
                session_id=frame.session_id,
                job_id=frame.job_id,
                rev=frame.rev,
                time=frame.time,
                progress=decode(frame.data, type=_Progressed).progress,
            )
        case "job.log":
            return LogEvent(
                session_id=frame.session_id,
                job_id=frame.job_id,
                line=frame.line,
                time=frame.time,
                lines=decode(frame.data, type=_Logged).lines,
            )
        case "job.log_gap":
            gap = decode(frame.data, type=_Gap)
            return LogGap(
                session_id=frame.session_id, job_id=frame.job_id, first=gap.first, last=gap.last
            )
        case "message.partial":
            partial = decode(frame.data, type=_Partial)
            return PartialMessage(
                session_id=frame.session_id, message_id=partial.message_id, text=partial.text
            )
        case "message.user" | "message.agent":
            return _message(frame)
    if frame.id is not None and frame.type.startswith("job."):
        return JobEvent(
            cursor=frame.id,
            type=frame.type,
            session_id=frame.session_id,
            job_id=frame.job_id,
            rev=frame.rev,
            time=frame.time,
            data=decode(frame.data, type=dict[str, Any]),
        )
    return None


def _message(frame: Frame) -> MessageEvent:
    said = msgspec.json.decode(frame.data, type=_Said)
    message = Message(
        message_id=said.message_id,
        role="user" if frame.type == "message.user" else "agent",
        text=said.text,
        time=frame.time,
        job_id=said.job_id,
        cursor=frame.id,
    )
    return MessageEvent(cursor=frame.id or "", session_id=frame.session_id, message=message)
