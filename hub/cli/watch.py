"""`jobcast watch`: a session, live."""

from __future__ import annotations

from typing import Annotated

import typer

from hub.cli.follow import follow_session
from hub.cli.hub_command import Hub, hub_command


@hub_command
def watch(
    hub: Hub,
    session: Annotated[str, typer.Argument(help="the id of a session")],
    after: Annotated[
        str | None, typer.Option(help="go on after this cursor of an earlier watch --json")
    ] = None,
) -> None:
    """Watch a session's jobs and messages as they happen, through restarts of the hub."""
    follow_session(hub, session, after)
