"""`jobcast mcp`: an MCP server on stdin and stdout."""

from __future__ import annotations

import asyncio
import os
from typing import Annotated

import typer

from hub.cli.flags import plain_errors
from hub.cli.target import find_target
from hub.errors import SettingsError
from hub.mcp import check_installed


def mcp(
    session: Annotated[
        str, typer.Option(help="The session whose jobs it sees.", envvar="JOBCAST_SESSION")
    ],
    url: Annotated[
        str | None,
        typer.Option(help="The hub's address (JOBCAST_URL; else that of a jobcast dev here)."),
    ] = None,
    token: Annotated[
        str | None, typer.Option(help="A session token or API key (better: JOBCAST_TOKEN).")
    ] = None,
) -> None:
    """Serve one session's jobs to an agent, as tools and resources of MCP on stdin and stdout.

    Needs the extra: pip install 'jobcast[mcp]'."""
    with plain_errors():
        check_installed()
        target = find_target(url, token, os.environ)
        if not target.token:
            raise SettingsError(
                "JOBCAST_TOKEN is missing. Make one with: jobcast token --sub agent"
                f" --session {session} --scope 'read cancel enqueue input'"
            )
        from hub.mcp.stdio import serve

        asyncio.run(serve(target.url, target.token, session))
