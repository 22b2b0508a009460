"""Every error that Jobcast raises on purpose.

JobcastError
├── SettingsError            the operator must change a setting or a server
├── BadInput                 the caller must change a request: (JSON pointer, message) pairs
├── NotFound                 no such job, session, webhook …, or none that the caller may see
├── Conflict                 the job is not in a status that allows it
│   ├── AnnouncedAnew        a task's params were checked against what is not true any more
│   └── ParentCancelled      the job is being cancelled, and may have no more children
├── Unauthenticated          no credential, or one that is wrong or over
├── Refused                  the caller may not do that
├── Busy                     a bound was reached; coming back later helps
│   └── TooMany              the caller's own bound: it asks too often
└── StaleToken               a worker's claim is over: it must stop and write nothing more
"""

from __future__ import annotations

from collections.abc import Sequence


class JobcastError(Exception):
    """Base of all of them; `str()` is a sentence for people."""


class SettingsError(JobcastError):
    """A setting, or the Redis server, is not as it must be; the text says what to change."""


class BadInput(JobcastError):
    """Input that does not fit.

    `errors` holds `(pointer, message)` pairs: an RFC 6901 JSON pointer to the offending field
    ("" is the whole document) and what would be right.
    """

    def __init__(self, errors: Sequence[tuple[str, str]]) -> None:
        self.errors = list(errors)
        super().__init__("; ".join(f"{pointer or 'body'}: {text}" for pointer, text in self.errors))


class NotFound(JobcastError):
    """There is no such thing, or none that the caller may know of."""


class Conflict(JobcastError):
    """The job's status does not allow it; the text names the status."""


class AnnouncedAnew(Conflict):
    """Tasks were announced otherwise since the job's params were checked: check again."""


class ParentCancelled(Conflict):
    """The job whose child was to be queued is being cancelled."""


class Unauthenticated(JobcastError):
    """There is no credential, or it is wrong or over. The text never holds any part of it."""


class Refused(JobcastError):
    """The caller's credential does not allow it."""


class Busy(JobcastError):
    """A bound was reached. `retry_after` is in seconds."""

    def __init__(self, message: str, retry_after: float = 5.0) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class TooMany(Busy):
    """The caller asks more often than it may; others are not concerned."""


class StaleToken(JobcastError):
    """The claim that this token stood for is over; nothing was written."""
