"""`jobcast enqueue`: queues a job."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer
from msgspec import UNSET

from hub.cli.follow import Watch, tell_queued
from hub.cli.hub_command import Hub, hub_command
from hub.cli.params import params_of, task_named

DEFAULT_SESSION = "cli"


@hub_command
def enqueue(
    hub: Hub,
    task: Annotated[str, typer.Argument(help="a task that workers announced; see jobcast tasks")],
    params: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME=VALUE…", help="its params; name:=value is JSON", show_default=False
        ),
    ] = None,
    session: Annotated[
        str, typer.Option("--session", "-s", help="the session that is told of it")
    ] = DEFAULT_SESSION,
    watch: Watch = False,
    key: Annotated[
        str | None,
        typer.Option(help="while a job of the session with it is live, there is no second"),
    ] = None,
    title: Annotated[str | None, typer.Option(help="what people see")] = None,
    queue: Annotated[str | None, typer.Option(help="another queue than the task's")] = None,
    priority: Annotated[int | None, typer.Option(help="0 to 9, smaller first")] = None,
    delay: Annotated[float | None, typer.Option(help="seconds until it may start")] = None,
    run_at: Annotated[
        datetime | None,
        typer.Option(
            help="when it may start, with its time zone",
            formats=["%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M%z"],
        ),
    ] = None,
    expires_in: Annotated[
        float | None, typer.Option(help="seconds after which nobody need start it")
    ] = None,
    timeout: Annotated[float | None, typer.Option(help="seconds that it may run")] = None,
    max_attempts: Annotated[int | None, typer.Option(help="how often it is tried")] = None,
    durable: Annotated[bool, typer.Option("--durable", help="wait for the disk")] = False,
) -> None:
    """Queue a job, and print its id."""
    wanted = params_of(params or (), task_named(task, hub.client.tasks()))
    queued = hub.client.enqueue(
        task,
        wanted,
        session_id=session,
        key=key,
        title=title,
        queue=UNSET if queue is None else queue,
        priority=priority,
        delay=delay,
        run_at=run_at,
        expires_in=expires_in,
        timeout=timeout,
        max_attempts=max_attempts,
        durable=durable,
    )
    tell_queued(hub, queued, watch)
