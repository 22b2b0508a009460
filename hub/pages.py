"""What is read of jobs, logs and sessions at one time. No I/O."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from hub.jobs import Job


class Message(Struct, kw_only=True):
    """What a person or the agent said. `cursor` is that of its event."""

    message_id: str
    role: Literal["user", "agent"]
    text: str
    time: str
    job_id: str | None = None
    cursor: str | None = None


class JobPage(Struct):
    """A page of jobs, newest first; `more` is the cursor of the next page, or null."""

    jobs: list[Job]
    more: str | None = None


class LogLine(Struct):
    """One line of a job's log."""

    line: int
    stream: str
    text: str


class LogPage(Struct):
    """Lines of a log; `last` is the number of the last line that the job has written."""

    lines: list[LogLine]
    last: int
    more: bool = False


class Snapshot(Struct):
    """A session as it is: the position first, then everything as of that position or later."""

    cursor: str
    jobs: list[Job]
    more: str | None
    messages: list[Message]
