"""How the agent writes values, texts of others, times and names of jobs. Pure; Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from hub.agent.announced import Tasks
from hub.agent.meant import params_of
from hub.jobs import Job

MAX_SAID: Final = 8_000
MAX_VALUE: Final = 120


def code(value: object, most: int = MAX_VALUE) -> str:
    """A value as inline code, whatever is in it."""
    text = " ".join(str(value).replace("`", "'").split())
    return f"`{text if len(text) <= most else text[: most - 1] + '…'}`"


def plain(text: str, most: int = 500) -> str:
    """Text of others as text: what Markdown or HTML would make of it is escaped."""
    line = " ".join(text.split())
    line = line if len(line) <= most else line[: most - 1] + "…"
    return re.sub(r"([\\`*_\[\]<>#|])", r"\\\1", line)


def cut(text: str) -> str:
    """No longer than what the agent may say at once."""
    return text if len(text) <= MAX_SAID else text[: MAX_SAID - 1] + "…"


def listed(words: Sequence[str], last: str = "and") -> str:
    """`a, b and c`."""
    return f" {last} ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def duration(seconds: float) -> str:
    """`12 s`, `3 min 5 s`, `2 h 10 min`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    minutes = whole % 3600 // 60
    return f"{whole // 3600} h {minutes} min" if minutes else f"{whole // 3600} h"


def between(start: str | None, end: str | None) -> float | None:
    """Seconds between two times of a job."""
    if start is None or end is None:
        return None
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()


def title(job: Job, tasks: Tasks | None = None) -> str:
    """What a job is called: its own title, its task's, or its task's name; with its params."""
    task = tasks.named(job.task) if tasks else None
    name = job.title or (task.title if task else job.task)
    values = [
        str(value)
        for value in params_of(job).values()
        if isinstance(value, str | int) and not isinstance(value, bool) and value != ""
    ]
    shown = [value for value in values if value.lower() not in name.lower()]
    about = f" ({', '.join(code(value, 60) for value in shown[:4])})" if shown else ""
    return f"**{plain(name, 100)}**{about}"
