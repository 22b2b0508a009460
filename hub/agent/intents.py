"""What a person may mean, and what the agent looks at to tell. Pure.

Every intent is complete: it names the jobs and values that it is about, so that it can be kept
and carried out again after a crash without being decided anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from msgspec import Struct

from hub.agent.announced import Tasks
from hub.jobs import Job


class _Intent(Struct, frozen=True, tag_field="intent"):
    pass


class Start(_Intent, frozen=True):
    """Queue a job."""

    task: str
    params: dict[str, Any] = {}


class Ask(_Intent, frozen=True):
    """A task is meant, but params are `missing`, `wrong` (name -> what was said) or `strange`."""

    task: str
    params: dict[str, Any] = {}
    missing: list[str] = []
    wrong: dict[str, str] = {}
    strange: list[str] = []


class Unsure(_Intent, frozen=True):
    """A task may be meant; `words` were not understood. A yes starts it."""

    task: str
    params: dict[str, Any] = {}
    words: list[str] = []


class Choose(_Intent, frozen=True):
    """Several tasks may be meant."""

    tasks: list[str]


class NoTask(_Intent, frozen=True):
    """`/name` of no task."""

    name: str


class Explain(_Intent, frozen=True):
    """What a task is."""

    task: str


class Status(_Intent, frozen=True):
    """How jobs are. `task` is set when one was named."""

    jobs: list[str] = []
    task: str | None = None


class Cancel(_Intent, frozen=True):
    """End these jobs."""

    jobs: list[str]


class Which(_Intent, frozen=True):
    """Several jobs may be meant; or, for `answer`, it is not plain what is answered."""

    action: Literal["cancel", "answer"]
    jobs: list[str]
    offered: str | None = None


class Answer(_Intent, frozen=True):
    """Answer a job's question. `confirm` says that this needs the scope `approve`."""

    job: str
    input_id: str
    value: Any
    confirm: bool


class Failures(_Intent, frozen=True):
    """Show why a job failed, or which of its tests did."""

    job: str


class Nothing(_Intent, frozen=True):
    """There is nothing to do that with. `task` is set when one was named."""

    action: Literal["cancel", "answer", "failures", "again"]
    task: str | None = None


class Declined(_Intent, frozen=True):
    """The person does not want something."""


class Help(_Intent, frozen=True):
    """What the agent can do."""


class Greeting(_Intent, frozen=True):
    """Hello."""


class Thanks(_Intent, frozen=True):
    """Thank you."""


class Unknown(_Intent, frozen=True):
    """Not understood."""


Intent = (
    Start
    | Ask
    | Unsure
    | Choose
    | NoTask
    | Explain
    | Status
    | Cancel
    | Which
    | Answer
    | Failures
    | Nothing
    | Declined
    | Help
    | Greeting
    | Thanks
    | Unknown
)


@dataclass(frozen=True)
class Scene:
    """What the agent knows when a person speaks.

    ``jobs``     the session's live and recent jobs, newest first
    ``offered``  the job whose failures the agent has just offered to look at
    ``before``   what the person's words before these were taken for
    """

    tasks: Tasks
    jobs: Sequence[Job] = field(default_factory=list)
    offered: str | None = None
    before: Intent | None = None
