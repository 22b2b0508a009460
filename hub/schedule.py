"""Cron schedules, as they are declared: what to queue, and when. No I/O.

Expressions are read by cronsim: five fields as Debian's cron has them (and six, seconds first). So
is daylight saving time: a firing in the hour that is skipped comes right after it, one in the hour
that comes twice comes once, and `*` hours or minutes go on evenly.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo

import msgspec
from cronsim import CronSim, CronSimError
from msgspec import Meta, Struct

from hub.fields import KeyName, SessionId, TaskName
from hub.jobs import KEY_NAME, SESSION_ID, job_id_for

#: Characters of a name: it is a part of a session's id and of a job's key.
NAME_CHARS: Final = 64


class Schedule(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Queues a job of `task` whenever `cron` says so, in the time zone (an IANA name).

    The job is in `session_id`, or in `schedule:<name>`. With `overlap` false a firing is left out
    while a job of an earlier one is live."""

    name: Annotated[KeyName, Meta(max_length=NAME_CHARS)]
    task: TaskName
    cron: str
    params: dict[str, Any] = {}
    time_zone: str = "UTC"
    session_id: SessionId | None = None
    overlap: bool = True

    def check(self) -> None:
        """Raises ValueError where it cannot be, saying what is wrong."""
        try:
            msgspec.convert(msgspec.to_builtins(self), Schedule)
        except msgspec.ValidationError as error:
            raise ValueError(str(error)) from None
        if not KEY_NAME.fullmatch(self.name) or not SESSION_ID.fullmatch(self.session):
            raise ValueError(f"name {self.name!r}: 1–{NAME_CHARS} of A-Z a-z 0-9 _ . : -")
        try:
            zone = ZoneInfo(self.time_zone)
        except (ValueError, OSError, KeyError):
            raise ValueError(
                f"time_zone {self.time_zone!r}: not a zone that this system knows"
            ) from None
        try:
            next(CronSim(self.cron, datetime.now(zone)))
        except CronSimError as error:
            raise ValueError(f"cron {self.cron!r}: {error}") from None
        except StopIteration:
            raise ValueError(f"cron {self.cron!r}: never comes") from None

    @property
    def session(self) -> str:
        """The session that its jobs are in."""
        return self.session_id or f"schedule:{self.name}"

    @property
    def key(self) -> str | None:
        """The unique key of its jobs, where they must not overlap."""
        return None if self.overlap else f"schedule:{self.name}"

    def next_after(self, ms: int) -> int | None:
        """The first firing after a time (both in ms since the epoch), or None."""
        return _first(CronSim(self.cron, self._local(ms)))

    def latest(self, ms: int) -> int | None:
        """The last firing up to a time, or None."""
        return _first(CronSim(self.cron, self._local(ms // 1000 * 1000 + 1000), reverse=True))

    def job_id(self, firing: int) -> str:
        """The id of the job of a firing: always the same, so that there is one."""
        return job_id_for(self.session, firing, f"schedule/{self.name}/{firing}")

    def _local(self, ms: int) -> datetime:
        return datetime.fromtimestamp(ms // 1000, UTC).astimezone(ZoneInfo(self.time_zone))


def _first(times: Iterator[datetime]) -> int | None:
    at = next(times, None)
    return None if at is None else int(at.timestamp()) * 1000
