"""`jobcast jobs`: lists jobs."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from hub.cli.cards import how_far, status_text
from hub.cli.hub_command import Hub, hub_command, table


@hub_command
def jobs(
    hub: Hub,
    session: Annotated[
        str | None, typer.Option("--session", "-s", help="of one session; all need an API key")
    ] = None,
    status: Annotated[
        list[str] | None, typer.Option(help="with this status; repeat for more")
    ] = None,
    task: Annotated[str | None, typer.Option(help="of this task")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=200, help="at most")] = 20,
    cursor: Annotated[
        str | None, typer.Option(help="the next page, as the one before says")
    ] = None,
) -> None:
    """List jobs, newest first."""
    page = hub.client.jobs(
        session_id=session, status=status or (), task=task, limit=limit, cursor=cursor
    )
    if hub.json:
        hub.put(page)
        return
    if not page.jobs:
        hub.say("No jobs.")
        return
    rows = [
        (job.id, status_text(job), job.task, job.session_id, job.created_at, how_far(job))
        for job in page.jobs
    ]
    hub.say(table(("ID", "STATUS", "TASK", "SESSION", "CREATED", "PROGRESS"), rows))
    if page.more:
        hub.say(Text(f"More: --cursor {page.more}", style="dim"))
