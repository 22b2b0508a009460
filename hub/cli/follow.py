"""Following in a terminal: a session for ever, or one job to its end."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated, Any, Final

import msgspec
import typer

from hub.cli.hub_command import Hub
from hub.cli.screen import Screen
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
from hub.client.view import View
from hub.errors import JobcastError, NotFound
from hub.jobs import Job
from hub.responses import Queued

#: The exit status that tells of a job's fate.
FATES: Final = {"completed": 0, "failed": 1, "cancelled": 2}

Watch = Annotated[
    bool,
    typer.Option("--watch", "-w", help="follow it; exits 0 completed, 1 failed, 2 cancelled"),
]

_KINDS: Final = {
    Hello: "hello",
    JobEvent: "job",
    ProgressEvent: "progress",
    LogEvent: "log",
    LogGap: "log_gap",
    MessageEvent: "message",
    PartialMessage: "partial",
}


def event_json(event: Event) -> dict[str, Any]:
    """An event as a JSON object whose `event` says its kind."""
    return {"event": _KINDS[type(event)], **msgspec.structs.asdict(event)}


def follow_session(hub: Hub, session_id: str, after: str | None) -> None:
    """Shows a session until interrupted."""
    # What is wrong with the address or the credential is told at once, not tried again.
    hub.client.jobs(session_id=session_id, limit=1)
    view = View()
    with Screen(hub.console) as screen:
        if not hub.json:
            screen.note(f"Watching {session_id}. Ctrl-C ends it; the jobs go on.")
        lost = None if hub.json else screen.lost
        with closing(hub.client.subscribe(session_id, after=after, on_lost=lost)) as events:
            for event in events:
                if hub.json:
                    hub.put(event_json(event))
                    continue
                changed = view.take(event)
                _fetch(hub, view)
                if changed is not None or isinstance(event, Hello):
                    screen.changed(view, changed)


def follow_job(hub: Hub, job: Job) -> Job:
    """Shows a job until it has ended; returns it whole."""
    view = View()
    view.put(job)
    asked = None
    with Screen(hub.console) as screen:
        if not hub.json:
            screen.changed(view, job)
        lost = None if hub.json else screen.lost
        with closing(hub.client.subscribe(job.session_id, on_lost=lost)) as events:
            for event in events:
                if not _concerns(event, job.id):
                    continue
                if hub.json:
                    hub.put(event_json(event))
                view.take(event)
                if isinstance(event, Hello):
                    # A picture has what happened so far; an old job may be left out of it.
                    view.put(hub.client.job(job.id))
                    view.jobs = {job.id: view.jobs[job.id]}
                job = view.jobs[job.id]
                if not hub.json:
                    screen.changed(view, job)
                    if job.input is not None and asked != job.input.id:
                        asked = job.input.id
                        screen.note(f"  Answer with: jobcast answer {job.id} …")
                if job.terminal:
                    break
    return hub.client.job(job.id)


def tell_queued(hub: Hub, queued: Queued, watch: bool) -> None:
    """Tells of a job that was queued. With `watch`, shows it until it has ended, and ends the
    command with its fate: 0 completed, 1 failed, 2 cancelled."""
    if not hub.json:
        hub.say(queued.job_id)
    elif not watch:
        hub.put(queued)
    if watch:
        job = follow_job(hub, queued.job)
        if hub.json:
            hub.put(job)
        raise typer.Exit(FATES[job.status])


def _concerns(event: Event, job_id: str) -> bool:
    return isinstance(event, Hello) or getattr(event, "job_id", None) == job_id


def _fetch(hub: Hub, view: View) -> None:
    for job_id in list(view.unknown):
        try:
            view.put(hub.client.job(job_id))
        except NotFound:
            view.unknown.discard(job_id)
        except JobcastError:
            # The subscription comes back by itself, and with it what is known of the job.
            return
