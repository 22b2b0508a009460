"""What the agent says of jobs: how they are, and how they ended. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from hub.agent.announced import Tasks
from hub.agent.markdown import between, code, cut, duration, listed, plain, title
from hub.agent.words import OFFER, trouble
from hub.jobs import Job, Progress

MAX_NAMED: Final = 10
#: Lines of a log that are shown for one failure, and at the end of a failed job.
LINES_EACH: Final = 12
LAST_LINES: Final = 8
MAX_LINE: Final = 300

_HEADER = re.compile(r"_{3,} (.+?) _{3,}")
_SECTION = re.compile(r"={3,} .+ ={3,}")
_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")


def result_of(job: Job) -> Any:
    """A job's result, decoded; None where it has none."""
    return None if job.result is None else msgspec.json.decode(job.result)


def tests_of(job: Job) -> dict[str, Any] | None:
    """The result, where it tells of tests: `{passed, failed, failures: [{test, message}]}`."""
    result = result_of(job)
    if isinstance(result, dict) and all(type(result.get(k)) is int for k in ("passed", "failed")):
        return result
    return None


def failures_of(job: Job) -> list[tuple[str, str]]:
    """(test, message) of each test that failed."""
    tests = tests_of(job)
    found = tests.get("failures") if tests else None
    return [
        (str(one.get("test", "")), str(one.get("message", "")))
        for one in (found if isinstance(found, list) else [])
        if isinstance(one, dict)
    ]


def short_test(test: str) -> str:
    """`tests/unit/test_a.py::test_b` without its folders."""
    path, colons, rest = test.partition("::")
    return path.rpartition("/")[2] + colons + rest


# ---------------------------------------------------------------- how it is


def progress(found: Progress | None) -> str:
    """`23 of 47, 49 %`."""
    if found is None:
        return ""
    parts = []
    if found.current is not None and found.total is not None:
        parts.append(f"{found.current:g} of {found.total:g}")
    if found.percent is not None:
        parts.append(f"{found.percent:.0f} %")
    return ", ".join(parts)


def doing(found: Progress | None) -> str:
    """The same, and what it does: `23 of 47, 49 %: Running tests`."""
    message = plain(found.message, 200) if found is not None and found.message else ""
    return ": ".join(filter(None, (progress(found), message)))


def status(job: Job, tasks: Tasks, now: str) -> str:
    """How one job is; `now` is the time as the job's own times are written."""
    name = title(job, tasks)
    far = doing(job.progress)
    at = f" It is at {far}." if far else ""
    since = between(job.started_at, now)
    run = f"; it has run for {duration(since)}" if since is not None else ""
    match job.status:
        case "pending":
            return f"{name} waits for a free worker."
        case "running":
            quiet = between(job.stalled_since, now)
            silence = f" It has said nothing for {duration(quiet)}." if quiet is not None else ""
            return f"{name} is not done yet{': ' + far if far else ''}{run}.{silence}"
        case "input_required" if job.input is not None:
            return f"{name} waits for your answer: {plain(job.input.prompt)}"
        case "retrying":
            return (
                f"{name} failed and will be tried again (try {job.attempt} of {job.max_attempts})."
            )
        case "cancelling":
            return f"{name} is being stopped.{at}"
    return ended(job, tasks)


def statuses(jobs: Sequence[Job], tasks: Tasks, now: str) -> str:
    """How several jobs are."""
    told = [status(job, tasks, now) for job in jobs]
    if len(told) <= 1:
        return "".join(told)
    return cut("\n".join(f"- {one}" for one in told))


# ---------------------------------------------------------------- how it ended


def ended(job: Job, tasks: Tasks, log: Sequence[str] = ()) -> str:
    """The word on a job that has ended. `log` are its last lines, shown when it failed."""
    name = title(job, tasks)
    took = between(job.started_at, job.finished_at)
    time = f" after {duration(took)}" if took is not None else ""
    if job.status == "cancelled":
        if job.started_at is None:
            return f"{name} was cancelled before it ran."
        far = progress(job.progress)
        return f"{name} was cancelled{time}" + (f", at {far}." if far else ".")
    if job.status == "failed":
        tail = _block(log[-LAST_LINES:])
        return cut(f"{name} failed{time}. {trouble(job.error)}" + (f"\n\n{tail}" if tail else ""))
    if (tests := tests_of(job)) is not None:
        return _tested(job, name, tests, time)
    return cut(_done(job, name, time))


def _tested(job: Job, name: str, tests: dict[str, Any], time: str) -> str:
    parts = [f"{tests['passed']} passed"]
    for key, word in (("failed", "failed"), ("errors", "with errors"), ("skipped", "skipped")):
        count = tests.get(key)
        if type(count) is int and (count or key == "failed"):
            parts.append(f"{count} {word}")
    bad = int(tests["failed"]) + (tests["errors"] if type(tests.get("errors")) is int else 0)
    names = [code(short_test(test)) for test, _ in failures_of(job)]
    more = max(0, bad - MAX_NAMED) if len(names) > MAX_NAMED else max(0, bad - len(names))
    shown = listed([*names[:MAX_NAMED], *([f"{more} more"] if more and names else [])])
    stopped = tests.get("stopped")
    early = f" The run ended early: {plain(stopped)}." if isinstance(stopped, str) else ""
    head = f"{name} ended{time}: **{', '.join(parts)}**"
    if not bad:
        return f"{head}.{early}"
    return cut(f"{head}{': ' + shown if shown else ''}.{early} {OFFER}")


def _done(job: Job, name: str, time: str) -> str:
    result = result_of(job)
    lines = [f"{name} is done{time}."]
    if isinstance(result, dict):
        facts = [
            f"{plain(str(key), 60)} {code(value)}"
            for key, value in result.items()
            if isinstance(value, str | int | float) and (key, value) != ("exit_code", 0)
        ]
        if facts:
            lines.append(", ".join(facts[:8]) + ".")
        links = [link for one in _links(result) if (link := _link(one))]
        if links:
            lines.append("\n".join(f"- {link}" for link in links[:10]))
    elif isinstance(result, str | int | float) and not isinstance(result, bool):
        lines.append(f"Result: {code(result, 500)}.")
    elif job.result_truncated:
        lines.append("Its result is too large for a message; the card shows it.")
    return "\n\n".join(lines)


def _links(result: dict[str, Any]) -> list[Any]:
    found = result.get("links")
    return found if isinstance(found, list) else []


def _link(one: Any) -> str | None:
    """A link as Markdown, where its address is one that may be followed."""
    if not isinstance(one, dict) or not isinstance(one.get("url"), str):
        return None
    url = one["url"].strip()
    try:
        scheme = urlsplit(url).scheme
    except ValueError:
        return None
    if scheme not in ("http", "https") or re.search(r"[\s<>()\"']", url):
        return None
    text = one.get("title")
    return f"[{plain(text if isinstance(text, str) and text else url, 120)}]({url})"


# ---------------------------------------------------------------- failures


def failures(job: Job, tasks: Tasks, log: Sequence[str]) -> str:
    """Each failing test with its message and what the log says of it; or why the job failed."""
    found = failures_of(job)
    if not found:
        return ended(job, tasks, log)
    parts = []
    for test, message in found[:MAX_NAMED]:
        lines = excerpt(test, log)
        parts.append(
            f"{code(test, 200)}: {code(message, 400) if message else 'no message.'}"
            + (f"\n\n{_block(lines)}" if lines else "")
        )
    left = len(found) - len(parts)
    more = f"\n\n… and {left} more." if left > 0 else ""
    one = len(found) == 1
    head = f"{'This test' if one else f'These {len(found)} tests'} failed in {title(job, tasks)}:"
    return cut(head + "\n\n" + "\n\n".join(parts) + more)


def excerpt(test: str, log: Sequence[str]) -> list[str]:
    """The end of what pytest wrote about a failing test: the last lines of its part of the log,
    which show the line that failed and why."""
    name = test.partition("::")[2].replace("::", ".") or test
    inside: list[str] = []
    found = False
    for raw in log:
        line = _ANSI.sub("", raw).rstrip()
        header = _HEADER.fullmatch(line.strip())
        if header is not None:
            if found:
                break
            found = header[1] == name
        elif found and _SECTION.fullmatch(line.strip()):
            break
        elif found and line.strip():
            inside.append(line)
    errors = [at for at, line in enumerate(inside) if line.startswith(("E ", ">"))]
    if errors:
        last = min(len(inside), errors[-1] + 2)
        inside = inside[max(0, min(errors[0] - 2, last - LINES_EACH)) : last]
    return inside[-LINES_EACH:]


def _block(lines: Sequence[str]) -> str:
    """Lines as a code block, which nothing in them can end."""
    kept = [_ANSI.sub("", line).rstrip()[:MAX_LINE].replace("```", "'''") for line in lines]
    return "```\n" + "\n".join(kept) + "\n```" if any(kept) else ""
