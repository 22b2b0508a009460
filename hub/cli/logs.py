"""`jobcast logs`: what a job wrote."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Annotated

import typer

from hub.cli.hub_command import Hub, hub_command
from hub.cli.show import JobId
from hub.pages import LogLine

PAGE = 1_000


@hub_command
def logs(
    hub: Hub,
    job_id: JobId,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="go on until the job has ended")
    ] = False,
    after: Annotated[int, typer.Option(min=0, help="only lines after this number")] = 0,
) -> None:
    """Print a job's log."""
    if not follow:
        _print(hub, _pages(hub, job_id, after))
        return
    with closing(hub.client.follow_log(job_id, after=after)) as lines:
        _print(hub, lines)


def _pages(hub: Hub, job_id: str, after: int) -> Iterator[LogLine]:
    while True:
        page = hub.client.logs(job_id, after=after, limit=PAGE)
        yield from page.lines
        if not page.more:
            return
        after = page.lines[-1].line


def _print(hub: Hub, lines: Iterable[LogLine]) -> None:
    for line in lines:
        if hub.json:
            hub.put(line)
        else:
            sys.stdout.write(line.text + "\n")
            sys.stdout.flush()
