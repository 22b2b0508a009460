"""A job's log, followed without a gap: pages over HTTP, news over the subscription. No I/O."""

from __future__ import annotations

from typing import Final, Literal

from hub.client.events import Event, Hello, JobEvent, LogEvent, LogGap
from hub.jobs import Job
from hub.pages import LogLine, LogPage
from hub.states import TERMINAL

WAIT: Final = "wait"
LOOK: Final = "look"


class LogFollower:
    """What a driver does next is in `step`; `lines` are to be told after each."""

    def __init__(self, job: Job, after: int = 0) -> None:
        self._job_id = job.id
        self._told = after
        self._known = job.log_lines
        self._over = job.terminal
        self._greeted = False
        self._unsure = False
        self._empty_up_to = 0
        self._lines: list[LogLine] = []

    def step(self) -> int | Literal["wait", "look"] | None:
        """The line after which a page is to be fetched, or `wait` for an event, or `look` at the
        job again, or None when all has been told."""
        if self._unsure:
            return LOOK
        if not self._greeted and not self._over:
            # From the hello on, nothing is missed: what is fetched after it leaves no hole.
            return WAIT
        if self._told < self._known:
            return self._told
        return None if self._over else WAIT

    def lines(self) -> list[LogLine]:
        """The lines to tell now."""
        lines, self._lines = self._lines, []
        return lines

    def page(self, page: LogPage) -> None:
        """Takes the page after the last line that was told."""
        self._take(page.lines)
        self._known = max(self._known, page.last)
        if not page.lines and not page.more:
            # `last` is read after the lines: only what an earlier page knew of is surely gone.
            self._told = max(self._told, self._empty_up_to)
            self._empty_up_to = page.last

    def looked(self, job: Job) -> None:
        """Takes the job as it is."""
        self._unsure = False
        self._known = max(self._known, job.log_lines)
        self._over = self._over or job.terminal

    def event(self, event: Event) -> None:
        """Takes an event of the job's session."""
        match event:
            case Hello():
                # It may have ended before, and be left out of the picture.
                self._greeted = self._unsure = True
            case LogEvent(job_id=self._job_id, line=first):
                if first <= self._told + 1:
                    numbered = enumerate(event.lines, first)
                    self._take([LogLine(n, line.stream, line.text) for n, line in numbered])
                self._known = max(self._known, first + len(event.lines) - 1)
            case LogGap(job_id=self._job_id, last=last):
                self._known = max(self._known, last)
            case JobEvent(job_id=self._job_id, data=data):
                self._known = max(self._known, int(data.get("log_lines") or 0))
                self._over = event.status in TERMINAL

    def _take(self, lines: list[LogLine]) -> None:
        for line in lines:
            if line.line > self._told:
                self._told = line.line
                self._lines.append(line)
