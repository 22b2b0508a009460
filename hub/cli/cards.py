"""A job as it is shown in a terminal."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

import msgspec
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.text import Text

from hub.jobs import Job

COLOURS: Final = {
    "pending": "cyan",
    "running": "blue",
    "input_required": "yellow",
    "retrying": "yellow",
    "cancelling": "magenta",
    "completed": "green",
    "failed": "red",
    "cancelled": "magenta",
}
_BAR_WIDTH: Final = 60
_LINE_CHARS: Final = 110
_RESULT_CHARS: Final = 400


def status_text(job: Job) -> Text:
    """Its status, in the colour of that."""
    return Text(job.status, style=COLOURS.get(job.status, ""))


def how_far(job: Job) -> str:
    """`23 of 47`, `48 %`, or nothing."""
    progress = job.progress
    if progress is None:
        return ""
    if progress.total and progress.current is not None:
        return f"{progress.current:g} of {progress.total:g}"
    return f"{progress.percent:.0f} %" if progress.percent is not None else ""


def line(job: Job, tail: Iterable[str] = ()) -> str:
    """A job on one line, for where there is no terminal."""
    parts = [f"[{job.task}] {job.status}"]
    if far := how_far(job):
        parts[0] += f", {far}"
    last = [*tail][-1:]
    if last and job.status == "running":
        parts.append(last[0].strip()[:50])
    if job.input is not None:
        parts.append(job.input.prompt)
    if job.error is not None:
        parts.append(f"{job.error.code}: {job.error.message}"[:_LINE_CHARS])
    return "  " + " │ ".join(parts)


def card(job: Job, tail: Iterable[str] = ()) -> Panel:
    """A job as a card: status, bar, question, error, result, and the last lines of its log."""
    colour = COLOURS.get(job.status, "white")
    head = Text(job.status, style=f"bold {colour}")
    if far := how_far(job):
        head.append(f", {far}", style="not bold default")
    if job.progress is not None and job.progress.message and not job.terminal:
        head.append(f"  {job.progress.message}", style="not bold dim default")
    parts: list[RenderableType] = [head]
    if job.progress is not None and job.progress.percent is not None:
        bar = ProgressBar(
            total=100,
            completed=job.progress.percent,
            complete_style="green" if job.status == "completed" else colour,
            width=_BAR_WIDTH,
        )
        # A bar that is narrower than its place ends no line by itself.
        parts.append(Padding(bar, 0))
    if job.input is not None:
        options = f" ({', '.join(job.input.options)})" if job.input.options else ""
        parts.append(Text(f"? {job.input.prompt}{options}", style="bold yellow"))
    if job.error is not None:
        parts.append(Text(f"{job.error.code}: {job.error.message}", style="red"))
    if job.result is not None:
        parts.append(Text(_short(job.result), style="dim"))
    parts += [
        Text(re.sub(" {3,}", "  ", each)[:_LINE_CHARS], style="dim", no_wrap=True) for each in tail
    ]
    return Panel(
        Group(*parts),
        title=Text(f" {job.title or job.task} ", style="bold"),
        title_align="left",
        subtitle=Text(job.id, style="dim"),
        subtitle_align="right",
        border_style=colour,
    )


def _short(result: object) -> str:
    text = msgspec.json.encode(result).decode()
    return text if len(text) <= _RESULT_CHARS else text[: _RESULT_CHARS - 1] + "…"
