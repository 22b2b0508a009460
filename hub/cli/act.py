"""`jobcast cancel`, `retry` and `answer`: what people do to jobs."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from hub.cli.follow import Watch, tell_queued
from hub.cli.hub_command import Hub, hub_command
from hub.cli.show import JobId
from hub.errors import Conflict


@hub_command
def cancel(hub: Hub, job_id: JobId) -> None:
    """Cancel a job; again is once."""
    job = hub.client.cancel(job_id)
    if hub.json:
        hub.put(job)
    else:
        hub.say(job.status)


@hub_command
def retry(
    hub: Hub,
    job_id: JobId,
    watch: Watch = False,
) -> None:
    """Queue a new job that does what an ended one did, and print its id."""
    queued = hub.client.retry(job_id)
    tell_queued(hub, queued, watch)


@hub_command
def answer(
    hub: Hub,
    job_id: JobId,
    value: Annotated[str, typer.Argument(help="the answer; JSON where the question wants it")],
) -> None:
    """Answer the question that a job asks. A confirm needs the scope approve, or an API key."""
    question = hub.client.job(job_id).input
    if question is None:
        raise Conflict("The job asks nothing now. See: jobcast show " + job_id)
    given: object = value
    if question.schema is not None and not question.options:
        try:
            given = msgspec.json.decode(value)
        except msgspec.DecodeError:
            given = value
    told = hub.client.answer(job_id, question.id, given)
    if hub.json:
        hub.put(told)
    else:
        hub.say(told.status)
