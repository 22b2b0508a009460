"""`jobcast show`: one job, whole."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
import typer
from rich.text import Text

from hub.cli.cards import card, line
from hub.cli.hub_command import Hub, hub_command

JobId = Annotated[str, typer.Argument(metavar="JOB", help="the id of a job")]

_FIELDS: Final = (
    "session_id queue priority attempt max_attempts lost released worker key parent_id retry_of"
    " retried_by created_at run_at started_at finished_at timeout log_lines"
)


@hub_command
def show(hub: Hub, job_id: JobId) -> None:
    """Show a job: what it is, how far it is, and how it ended."""
    job = hub.client.job(job_id)
    if hub.json:
        hub.put(job)
        return
    hub.say(card(job) if hub.console.is_terminal else line(job).strip())
    for name in _FIELDS.split():
        value = getattr(job, name)
        if value not in (None, 0):
            hub.say(Text.assemble((f"{name:>13} ", "dim"), str(value)))
    for name in ("params", "metadata", "result"):
        value = getattr(job, name)
        if value not in (None, {}):
            shown = msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
            hub.say(Text.assemble((f"{name:>13} ", "dim"), shown))
    if job.error is not None and job.error.traceback:
        hub.say(Text(job.error.traceback, style="red"))
