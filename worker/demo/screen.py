"""The demo's screen: live cards in a terminal, plain lines elsewhere."""

from __future__ import annotations

import re
from types import TracebackType
from typing import Any, Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markdown import Markdown
from rich.padding import Padding
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.rule import Rule
from rich.text import Text

from worker.demo.client import TERMINAL, View

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


class Screen:
    """`with Screen() as screen`: `changed` is to be called with whatever a frame changed."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)
        self._live = (
            Live(console=self._console, refresh_per_second=8, transient=True)
            if self._console.is_terminal
            else None
        )
        self._told: dict[str, tuple[Any, ...]] = {}

    def __enter__(self) -> Screen:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.update(Text(""))
            self._live.stop()

    def step(self, text: str) -> None:
        """Heads what comes now."""
        self._console.print()
        self._console.print(Rule(Text(text, style="dim"), align="left", style="dim"))

    def ok(self, text: str) -> None:
        """Something came true."""
        self._console.print(Text(f"  ✓ {text}", style="green"))

    def note(self, text: str) -> None:
        """Something by the way."""
        self._console.print(Text(text, style="dim"))

    def changed(self, view: View, what: str) -> None:
        """Shows what changed: a message, or a job's card."""
        if (message := view.messages.get(what)) is not None:
            self._say(message)
        elif (job := view.jobs.get(what)) is not None and "status" in job:
            if self._live is None:
                self._line(view, what, job)
            else:
                self._cards(view, what, job)

    def _say(self, message: dict[str, Any]) -> None:
        by_user = message["role"] == "user"
        self._console.print(
            Text("you" if by_user else "agent", style="bold" if by_user else "bold green")
        )
        body: RenderableType = Text(message["text"])
        if not by_user and self._live is not None:
            body = Markdown(message["text"])
        self._console.print(Padding(body, (0, 0, 1, 2)))

    def _cards(self, view: View, job_id: str, job: dict[str, Any]) -> None:
        assert self._live is not None
        live = [
            _card(each, list(view.tails.get(one, ())))
            for one, each in view.jobs.items()
            if each.get("status") not in TERMINAL and "status" in each
        ]
        self._live.update(Group(*live), refresh=True)
        if job["status"] in TERMINAL and self._told.get(job_id) != ("ended",):
            self._told[job_id] = ("ended",)
            self._console.print(_card(job, []))

    def _line(self, view: View, job_id: str, job: dict[str, Any]) -> None:
        """One line for each status, and one for every tenth of the way."""
        progress = job.get("progress") or {}
        percent = progress.get("percent") or 0
        told = (job["status"], int(percent // 10))
        if self._told.get(job_id) == told or self._told.get(job_id, ("",))[0] in TERMINAL:
            return
        self._told[job_id] = told
        tail = list(view.tails.get(job_id, ()))
        last = f" │ {tail[-1].strip()[:50]}" if tail and job["status"] == "running" else ""
        asked = f" │ {job['input']['prompt']}" if job.get("input") else ""
        line = f"  [{job['task']}] {job['status']}{_far(job)}{last}{asked}"
        self._console.print(Text(line), soft_wrap=True)


def _far(job: dict[str, Any]) -> str:
    progress = job.get("progress") or {}
    if progress.get("total"):
        return f", {progress['current']:g} of {progress['total']:g}"
    return f", {progress['percent']:.0f} %" if progress.get("percent") is not None else ""


def _card(job: dict[str, Any], tail: list[str]) -> Panel:
    status = job["status"]
    colour = COLOURS.get(status, "white")
    head = Text.assemble((f"{status}", f"bold {colour}"), _far(job))
    progress = job.get("progress") or {}
    if progress.get("message") and status not in TERMINAL:
        head.append(f"  {progress['message']}", style="dim")
    parts: list[RenderableType] = [head]
    if progress.get("percent") is not None:
        done = "green" if status == "completed" else colour
        bar = ProgressBar(total=100, completed=progress["percent"], complete_style=done, width=60)
        # A bar that is narrower than its place ends no line by itself.
        parts.append(Padding(bar, 0))
    if (asked := job.get("input")) is not None:
        parts.append(Text(f"? {asked['prompt']}", style="bold yellow"))
    parts += [Text(re.sub(" {3,}", "  ", line)[:110], style="dim", no_wrap=True) for line in tail]
    title = Text(f" {job.get('title') or job['task']} ", style="bold")
    return Panel(
        Group(*parts),
        title=title,
        title_align="left",
        subtitle=Text(job["id"], style="dim"),
        subtitle_align="right",
        border_style=colour,
    )
