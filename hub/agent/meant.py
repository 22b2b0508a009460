"""Which jobs a person means. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from hub.agent.announced import Announced
from hub.agent.intents import (
    Cancel,
    Failures,
    Intent,
    Nothing,
    Scene,
    Status,
    Unknown,
    Which,
)
from hub.agent.vocabulary import FILLERS, VERBS, meaning, stem, word_set
from hub.jobs import Job
from hub.states import LIVE

_JOB_ID = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{1,4}){0,3}(?:-[0-9a-f]{1,12})?\b")
_ALL: Final = frozenset({"all", "everything", "every", "both", "each"})
_LAST: Final = frozenset({"last", "latest", "newest"})
_IT: Final = word_set("it that this them job jobs run running one process now immediately")
#: How many jobs one status tells of.
MAX_TOLD: Final = 5


def params_of(job: Job) -> dict[str, Any]:
    """A job's params; empty where they are too large to be shown."""
    if job.params is None:
        return {}
    found = msgspec.json.decode(job.params)
    return found if isinstance(found, dict) else {}


def live(scene: Scene) -> list[Job]:
    """The jobs that have not ended, newest first."""
    return [job for job in scene.jobs if job.status in LIVE]


def by_id(scene: Scene, words: Sequence[str]) -> list[Job]:
    """The jobs whose id, or its beginning, was written."""
    ids = [found.group() for word in words if (found := _JOB_ID.fullmatch(word))]
    return [job for job in scene.jobs if any(job.id.startswith(one) for one in ids)]


def telling(words: Sequence[str]) -> list[str]:
    """The words that may say which job is meant."""
    return [word for word in words if word not in FILLERS | VERBS | _IT | _ALL | _LAST]


def about(scene: Scene, job: Job, words: Sequence[str]) -> tuple[bool, bool]:
    """(Whether these words name the job, whether they say nothing else)."""
    task = scene.tasks.named(job.task)
    names = task.names | task.labels if task else frozenset({job.task})
    values = {str(value).lower() for value in params_of(job).values()}
    said = telling(words)
    hits = [
        meaning(word) in names
        or word in values
        or any(stem(word) == stem(value) for value in values)
        for word in said
    ]
    return any(hits), all(hits)


def meant(scene: Scene, words: Sequence[str]) -> tuple[list[Job], list[Announced]]:
    """(The jobs that are named by id, task or params, newest first; the tasks named)."""
    if found := by_id(scene, words):
        return found, []
    said = telling(words)
    tasks = scene.tasks.fitting(said)
    names = {task.name for task in tasks}
    jobs = [job for job in scene.jobs if job.task in names]
    exact = [job for job in jobs if about(scene, job, words)[1]]
    if not tasks:
        jobs = [job for job in scene.jobs if said and about(scene, job, words) == (True, True)]
    return exact or jobs, tasks


def cancel(scene: Scene, words: Sequence[str]) -> Intent:
    """What "stop" and then `words` means."""
    running = live(scene)
    jobs, tasks = meant(scene, words)
    if jobs or tasks:
        named = [job for job in jobs if job.status in LIVE]
        if not named:
            return Nothing("cancel", tasks[0].name if tasks else None)
        running = named
    elif telling(words) and not _IT & set(words):
        return Unknown()
    if not running:
        return Nothing("cancel")
    if len(running) == 1 or _ALL & set(words):
        return Cancel([job.id for job in running])
    if _LAST & set(words):
        return Cancel([running[0].id])
    return Which("cancel", [job.id for job in running[:MAX_TOLD]])


def status(scene: Scene, words: Sequence[str]) -> Status:
    """What is asked about with these words: the latest job of a task that is named, else what
    is live, else what ended last."""
    jobs, tasks = meant(scene, words)
    if by_id(scene, words):
        return Status([job.id for job in jobs[:MAX_TOLD]])
    if tasks:
        latest = [job for job in jobs if job.status in LIVE] or jobs[:1]
        return Status([job.id for job in latest[:MAX_TOLD]], tasks[0].name)
    running = live(scene) or list(scene.jobs[:1])
    return Status([job.id for job in running[:MAX_TOLD]])


def failures(scene: Scene, words: Sequence[str]) -> Intent:
    """Whose failures are meant."""
    jobs, tasks = meant(scene, words)
    if jobs:
        return Failures(jobs[0].id)
    if not tasks and scene.offered:
        return Failures(scene.offered)
    failed = [job for job in scene.jobs if has_failures(job)]
    return Failures(failed[0].id) if failed and not tasks else Nothing("failures")


def has_failures(job: Job) -> bool:
    """Whether it failed, or found failures."""
    if job.status == "failed":
        return True
    if job.result is None:
        return job.result_truncated
    result = msgspec.json.decode(job.result)
    return isinstance(result, dict) and bool(result.get("failed") or result.get("errors"))
