"""What callers are answered, as structs: they encode answers, make `/openapi.json`, and are what
`hub.client` returns. No I/O."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from hub.announcements import Announcement
from hub.errors import JobcastError
from hub.jobs import Job
from hub.pages import Message
from hub.problems import Problem, problem_of
from hub.queueing import Enqueued


class Queued(Struct, kw_only=True, omit_defaults=True):
    """A queued job. `token` is for the events of a job that somebody else's queue runs."""

    job_id: str
    status: str
    job: Job
    token: str | None = None


class QueuedItem(Struct, kw_only=True, omit_defaults=True):
    """What became of one job of a list: `status` is what it alone would have been answered with,
    202, 200, or that of its `problem`."""

    status: int
    job_id: str | None = None
    job: Job | None = None
    token: str | None = None
    problem: Problem | None = None


def queued_item(
    done: Enqueued | JobcastError, show: Callable[[Job], Job] = lambda job: job
) -> QueuedItem:
    """What became of one job of a list; `show` makes of a job what its caller may see."""
    if isinstance(done, JobcastError):
        problem, _ = problem_of(done)
        return QueuedItem(status=problem.status, problem=problem)
    job = show(done.job)
    status = 202 if done.created else 200
    return QueuedItem(status=status, job_id=job.id, job=job, token=done.token)


class QueuedList(Struct):
    """What became of a list of jobs, in its order."""

    jobs: list[QueuedItem]


class Answered(Struct):
    """What became of the job whose question was answered."""

    status: str


class Told(Struct):
    """The job's status now, so that a cancel is heard: `cancelling` asks for its end."""

    status: str


class MessagePage(Struct):
    """Messages, oldest first; `more` is the `before` of the page before this one, or null."""

    messages: list[Message]
    more: str | None = None


class Said(Struct):
    """A message is there; its event tells the rest."""

    message_id: str


class Token(Struct, kw_only=True):
    """A session token and what it is good for; `expires_at` is ISO 8601 UTC."""

    token: str
    expires_at: str
    sub: str
    sessions: list[str]
    scope: str


class Paused(Struct):
    """Whether a queue hands out jobs now."""

    queue: str
    paused: bool


class TaskList(Struct):
    """The tasks that may be queued, by name."""

    tasks: list[Announcement]
