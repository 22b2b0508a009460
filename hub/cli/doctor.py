"""`jobcast doctor`: looks at the server itself, and says what to change."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Annotated, Final

import msgspec
import typer
from rich.text import Text

from hub.cli.flags import plain_errors
from hub.cli.hub_command import console, table
from hub.cli.target import DATA_DIR
from hub.connection import connect
from hub.doctor import Finding, examine
from hub.settings import Settings

_MARKS: Final = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "problem": ("✗", "red")}


def doctor(
    redis_url: Annotated[
        str | None,
        typer.Option(
            help="the server; JOBCAST_REDIS_URL, or that of this directory's jobcast dev",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Check the Redis or Valkey server, the workers and the queues; say what to change.

    Exits 1 where something is a problem. Reads the server itself: no hub is needed."""
    if redis_url is None and "JOBCAST_REDIS_URL" not in os.environ:
        socket = DATA_DIR.absolute() / "valkey.sock"
        redis_url = f"unix://{socket}" if socket.is_socket() else None
    with plain_errors():
        settings = Settings.from_env(redis_url=redis_url)
        findings = asyncio.run(_examine(settings))
    if as_json:
        sys.stdout.write(msgspec.json.encode(findings).decode() + "\n")
    else:
        _show(findings)
    if any(finding.level == "problem" for finding in findings):
        raise typer.Exit(1)


async def _examine(settings: Settings) -> list[Finding]:
    redis = connect(settings.redis_url)
    try:
        return await examine(redis, settings)
    finally:
        await redis.aclose()


def _show(findings: list[Finding]) -> None:
    out = console()
    rows = []
    for finding in findings:
        mark, style = _MARKS[finding.level]
        said = Text(finding.found)
        if finding.advice is not None:
            said.append(f"\n→ {finding.advice}", style=style)
        rows.append((Text(mark, style=style), finding.check, said))
    out.print(table(("", "CHECK", "FOUND"), rows))
