"""A session on the screen: live cards in a terminal, plain lines elsewhere."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.text import Text

from hub.cli.cards import card, line
from hub.client.view import View
from hub.client.wire import Lost
from hub.jobs import Job
from hub.pages import Message

#: Cards that are live at once; more are counted.
MOST_CARDS = 8
#: Messages of a picture that are shown, the last ones.
MOST_MESSAGES = 10


class Screen:
    """`with Screen(console) as screen`: call `changed` with whatever an event changed."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._live = (
            Live(console=console, refresh_per_second=8, transient=True)
            if console.is_terminal
            else None
        )
        self._told: dict[str, tuple[Any, ...]] = {}
        self._said: set[str] = set()
        self._shown: list[RenderableType] = []

    def __enter__(self) -> Self:
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

    def note(self, text: str) -> None:
        """Something by the way."""
        self.console.print(Text(text, style="dim"))

    def lost(self, lost: Lost) -> None:
        """The connection is gone for now."""
        words = f"The connection is lost ({lost.reason}); next try in {lost.retry_in:.1f} s."
        if self._live is None:
            self.note(words)
        else:
            self._live.update(Group(*self._shown, Text(words, style="yellow")))

    def changed(self, view: View, what: Job | Message | None) -> None:
        """Shows what changed: a job's card, a message, or (None) all of it."""
        if isinstance(what, Message):
            self._say(what)
        elif isinstance(what, Job):
            self._job(view, what)
        else:
            for message in [*view.messages.values()][-MOST_MESSAGES:]:
                self._say(message)
            for job in view.jobs.values():
                if not job.terminal:
                    self._job(view, job)
        if self._live is not None:
            self._shown = _cards(view)
            self._live.update(Group(*self._shown))

    def _say(self, message: Message) -> None:
        if message.message_id in self._said:
            return
        self._said.add(message.message_id)
        by_user = message.role == "user"
        self.console.print(
            Text("you" if by_user else "agent", style="bold" if by_user else "bold green")
        )
        body: RenderableType = Text(message.text)
        if not by_user and self._live is not None:
            # A third of a second to import, which only this view should pay.
            from rich.markdown import Markdown

            body = Markdown(message.text)
        self.console.print(Padding(body, (0, 0, 1, 2)))

    def _job(self, view: View, job: Job) -> None:
        """In a terminal an ended job's card, once. Elsewhere one line for each status, and one
        for every tenth of the way."""
        percent = 0.0 if job.progress is None else job.progress.percent or 0.0
        told = (job.status, job.terminal or int(percent // 10))
        if self._told.get(job.id) == told:
            return
        if self._live is None:
            self.console.print(Text(line(job, view.tails.get(job.id, ()))), soft_wrap=True)
        elif job.terminal:
            self.console.print(card(job))
        self._told[job.id] = told


def _cards(view: View) -> list[RenderableType]:
    live = [job for job in view.jobs.values() if not job.terminal]
    shown: list[RenderableType] = [
        card(job, view.tails.get(job.id, ())) for job in live[:MOST_CARDS]
    ]
    if len(live) > MOST_CARDS:
        shown.append(Text(f"and {len(live) - MOST_CARDS} more", style="dim"))
    return shown
