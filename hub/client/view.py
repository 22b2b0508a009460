"""A session as a client holds it: the reducer of events. No I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from hub.client.events import (
    Event,
    Hello,
    JobEvent,
    LogEvent,
    LogGap,
    MessageEvent,
    PartialMessage,
    ProgressEvent,
)
from hub.jobs import Job
from hub.pages import Message

TAIL: Final = 6
#: What tasks write for Jobcast to read (see docs/tasks.md) is no news for people.
_MARKER: Final = "::jobcast "


class View:
    """Jobs and messages by id, and the last lines of each job's log.

    `unknown` are jobs that were told of without being known whole: fetch and `put` them."""

    def __init__(self, tail: int = TAIL) -> None:
        self._tail = tail
        self.jobs: dict[str, Job] = {}
        self.messages: dict[str, Message] = {}
        self.tails: dict[str, deque[str]] = {}
        self.unknown: set[str] = set()

    def take(self, event: Event) -> Job | Message | None:
        """Takes an event; returns the job or the message that it changed. After a Hello
        everything may look different."""
        match event:
            case Hello():
                self._hello(event)
            case JobEvent(job_id=job_id, rev=rev, data=data, time=time):
                return self._changed(job_id, event.session_id, rev, {"updated_at": time, **data})
            case ProgressEvent(job_id=job_id, rev=rev, progress=progress, time=time):
                changes = {"updated_at": time, "progress": msgspec.to_builtins(progress)}
                return self._changed(job_id, event.session_id, rev, changes)
            case LogEvent(job_id=job_id):
                self._lines(job_id, (line.text for line in event.lines))
                return self.jobs.get(job_id)
            case LogGap(job_id=job_id):
                self.tails.pop(job_id, None)
            case MessageEvent(message=message):
                self.messages[message.message_id] = message
                return message
            case PartialMessage():
                pass
        return None

    def put(self, job: Job) -> bool:
        """Takes a job that was fetched; False where a newer one is held."""
        self.unknown.discard(job.id)
        held = self.jobs.get(job.id)
        if held is not None and held.rev > job.rev:
            return False
        self.jobs[job.id] = job
        return True

    def _hello(self, hello: Hello) -> None:
        if not hello.resumed:
            self.unknown.clear()
            self.jobs = {job.id: job for job in hello.jobs}
            self.messages = {message.message_id: message for message in hello.messages}
            self.tails = {job: tail for job, tail in self.tails.items() if job in self.jobs}
        for job in hello.jobs:
            self.put(job)

    def _changed(
        self, job_id: str, session_id: str, rev: int, changes: dict[str, Any]
    ) -> Job | None:
        held = self.jobs.get(job_id)
        if held is None and rev != 1:
            self.unknown.add(job_id)
            return None
        if held is not None and held.rev >= rev:
            return None
        before = {} if held is None else msgspec.structs.asdict(held)
        whole = {**before, **changes, "id": job_id, "session_id": session_id, "rev": rev}
        job = msgspec.convert(whole, Job)
        self.unknown.discard(job_id)
        self.jobs[job_id] = job
        return job

    def _lines(self, job_id: str, texts: Iterable[str]) -> None:
        tail = self.tails.setdefault(job_id, deque(maxlen=self._tail))
        shown = (text.rstrip() for text in texts)
        tail.extend(text for text in shown if text and not text.startswith(_MARKER))
