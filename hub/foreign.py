"""Jobs of somebody else's queue, told of by processes beside Redis: one typed wrapper per script.

A `ref` is the name that the other queue has for a job (`celery:5f2a…`). The first that is heard of
a ref makes the job, whoever says it: the process that queued it or the one that runs it. Where a
ref's job has ended and that queue runs it once more, the ref stands for a new job with `retry_of`.

A run is one process's hold on a job. Its caller draws the token, so that every call may be repeated
after a lost reply. Calls block: they are made from a thread that has nothing else to do.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Final, Literal, NamedTuple

import msgspec

from hub import keys
from hub.errors import Busy
from hub.jobs import new_job_id
from hub.scripts import Arg, Scripts, text
from hub.transitions import Fate, heartbeat_sync

#: Seconds for which a job may wait in its own queue, past its due time; then it is failed (lost).
PENDING_PATIENCE: Final = 7 * 86_400.0

#: Seconds for which a job that ended before it was told of is remembered for whoever queued it.
EARLY_END_KEPT: Final = 600.0
#: How many of them are; the oldest are forgotten.
EARLY_ENDS: Final = 10_000

Verdict = Literal["running", "taken", "cancelled", "over", "gone"]


class ForeignJob(NamedTuple):
    """What is told of a job where it is made. Names fit their charsets; `params` and `metadata` are
    JSON objects. `redelivers` is for how many seconds its queue is given to hand the job out again
    after its process was lost; None where it will not, so that the job fails at once."""

    session_id: str
    task: str
    params: bytes = b"{}"
    title: str | None = None
    priority: int = 5
    max_attempts: int = 1
    metadata: bytes | None = None
    redelivers: float | None = None

    def fields(self) -> list[Arg]:
        """The hash fields, flat."""
        out: list[Arg] = [
            *("session_id", self.session_id),
            *("task", self.task),
            *("params", self.params),
            *("priority", self.priority),
            *("max_attempts", self.max_attempts),
        ]
        if self.title is not None:
            out += ["title", msgspec.json.encode(self.title)]
        if self.metadata is not None:
            out += ["metadata", self.metadata]
        if self.redelivers is not None:
            out += ["redelivers", int(self.redelivers * 1000)]
        return out


class Started(NamedTuple):
    """What came of a start. `verdict` is `running` when the token holds the job now; `taken` when
    another process does; `cancelled` when it was cancelled here, of which its queue is told with
    this one answer; `over` when this run has ended; `gone` when the job was deleted."""

    verdict: Verdict
    job_id: str
    status: str
    log_lines: int = 0


def new_token() -> str:
    """A fresh token of a run (96 bits)."""
    return os.urandom(12).hex()


class ForeignJobs:
    """The transitions, over one blocking Redis client, whose replies must be bytes. Every method
    raises what that client raises."""

    def __init__(self, redis: Any, scripts: Scripts) -> None:
        self._redis = redis
        self._scripts = scripts

    def _run(self, name: str, *args: Arg) -> Any:
        return self._scripts.run_sync(self._redis, name, *args)

    def queue(
        self,
        ref: str,
        job: ForeignJob,
        *,
        delay: float | None = None,
        patience: float = PENDING_PATIENCE,
    ) -> str:
        """Tells of a job that waits in its queue (for `delay` seconds at least), unless the ref is
        known. Returns the job's id. Raises Busy while the outbox is full."""
        word, job_id, _ = self._run(
            "foreign_queue",
            ref,
            new_job_id(job.session_id),
            int(patience * 1000),
            "" if delay is None else max(0, int(delay * 1000)),
            *job.fields(),
        )
        _check_room(word)
        return text(job_id)

    def start(
        self,
        ref: str,
        job: ForeignJob,
        token: str,
        *,
        lease: float,
        attempt: int | None = None,
        worker: str | None = None,
        take: bool = True,
        patience: float = PENDING_PATIENCE,
    ) -> Started:
        """Tells that a process runs the job, under a lease of `lease` seconds. With `take` its
        queue has handed it out, so that a process that seems to run it still was lost; without, a
        run whose lease was over goes on, unless that queue was told otherwise. `attempt` only ever
        rises. `worker` is of `A-Z a-z 0-9 _ . : @ -`. Raises Busy while the outbox is full and the
        job has to be made."""
        word, job_id, status, *rest = self._run(
            "foreign_start",
            ref,
            new_job_id(job.session_id),
            token,
            int(lease * 1000),
            "" if attempt is None else attempt,
            worker or "",
            "1" if take else "",
            int(patience * 1000),
            *job.fields(),
        )
        _check_room(word)
        verdict: Any = text(word)
        return Started(verdict, text(job_id), text(status), int(rest[0]) if rest else 0)

    def find(self, ref: str) -> str | None:
        """The id of the job that a ref stands for now; None when it was never heard of."""
        found = self._redis.get(keys.foreign(ref))
        return None if found is None else text(found)

    def progress(self, job_id: str, token: str, progress: bytes) -> str | None:
        """Sets and tells a job's progress. Returns its status; None when the run is over."""
        return _held(self._run("progress", job_id, token, progress))

    def log(self, job_id: str, token: str, first: int, lines: Sequence[bytes]) -> str | None:
        """Adds log lines, numbered from `first`, each JSON `{"stream","text"}`. Returns the job's
        status; None when the run is over."""
        return _held(self._run("log", job_id, token, first, *lines))

    def heartbeat(self, lease: float, held: Sequence[tuple[str, str]]) -> list[str]:
        """Renews leases. For each (job id, token): the job's status, or `lost`."""
        args: list[Arg] = ["", int(lease * 1000), "", "", ""]
        for job_id, token in held:
            args += [job_id, token]
        return heartbeat_sync(self._redis, self._scripts, args)

    def retry(
        self,
        ref: str,
        token: str,
        error: bytes,
        traceback: bytes = b"",
        *,
        delay: float = 0.0,
        patience: float = PENDING_PATIENCE,
    ) -> str | None:
        """Tells that the job failed and its queue will hand it out again after `delay` seconds; how
        many attempts there are is that queue's affair. Returns the job's status (`cancelled` when
        that was asked for); None when the run is over."""
        return _held(
            self._run("foreign_retry", ref, token, *_ms(delay, patience), error, traceback)
        )

    def release(
        self, ref: str, token: str, *, delay: float = 0.0, patience: float = PENDING_PATIENCE
    ) -> str | None:
        """Tells that its process gave the job back to its queue, at no cost. As `retry`."""
        return _held(self._run("foreign_retry", ref, token, *_ms(delay, patience), "", ""))

    def end(
        self, ref: str, token: str, fate: Fate, value: bytes = b"", traceback: bytes = b""
    ) -> str | None:
        """Ends a job; `value` is the result, or the error without its traceback. With an empty
        token its queue ends it, failed or cancelled, whoever runs it; where nobody has told of it
        yet, `queue` does it if it comes within EARLY_END_KEPT (EARLY_ENDS of them).
        Returns the job's status; None when the run is over, the job ended otherwise or is not
        known."""
        kept = (*_ms(EARLY_END_KEPT), EARLY_ENDS)
        return _held(self._run("foreign_end", ref, token, fate, value, traceback, *kept))


def _check_room(word: bytes) -> None:
    if word == b"busy":
        raise Busy("Too many events wait for webhooks: no more jobs are taken on.")


def _held(reply: Any) -> str | None:
    verdict, status = reply
    return None if verdict in (b"stale", b"unknown") else text(status)


def _ms(*seconds: float) -> list[Arg]:
    return [max(0, int(each * 1000)) for each in seconds]
