"""What tools tell a model of jobs: plain words, bounded, usable alone. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from hub.agent.telling import progress
from hub.errors import BadInput, JobcastError
from hub.jobs import Input, Job, Progress

#: Characters of one answer, at most; and of a result and of a log line within it.
MAX_ANSWER: Final = 4_000
MAX_RESULT: Final = 2_000
MAX_LINE: Final = 300
#: Log lines that are told of, at most.
TAIL: Final = 20
_ERROR_CHARS: Final = 800

_ANSI: Final = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")


def clip(text: str, most: int) -> str:
    """No more than `most` characters, which say so where something was cut."""
    if len(text) <= most:
        return text
    note = f"… (cut; {len(text)} characters in all)"
    return text[: most - len(note)] + note


def started(job: Job) -> str:
    """A job was queued."""
    if job.input is not None:
        return (
            f"Job {job.id} ({job.task}) waits for a person's approval before it runs:"
            f" {clip(job.input.prompt, MAX_LINE)} Only the person can give it, on the job's card."
            " Do not wait; tell them."
        )
    return (
        f"Started job {job.id} ({job.task}); it is {job.status}. The person is told when it ends:"
        " do not wait for it. check_job_status says how it is."
    )


def report(job: Job, log: Sequence[str] = ()) -> str:
    """How a job is: its state, question, result or error, and the last lines of its log."""
    parts = [_state(job)]
    if job.input is not None and not job.terminal:
        parts.append(_question(job.input))
    if job.error is not None:
        kind = f"{job.error.code}, {job.error.type}" if job.error.type else job.error.code
        parts.append(f"Error ({kind}): {clip(job.error.message, _ERROR_CHARS)}")
    if job.result_truncated:
        parts.append("Its result is too large to be told here.")
    elif job.result is not None:
        result = msgspec.json.encode(job.result).decode()
        parts.append(f"Result (JSON): {clip(result, MAX_RESULT)}")
    if job.retried_by:
        parts.append(f"It was run again as job {job.retried_by}.")
    text = "\n".join(parts)
    return clip(text + _tail(job, log, MAX_ANSWER - len(text)), MAX_ANSWER)


def listing(jobs: Sequence[Job], more: bool) -> str:
    """Several jobs, one a line."""
    if not jobs:
        return "There are no such jobs in this conversation."
    lines = [_line(job) for job in jobs]
    if more:
        lines.append("There are older ones.")
    return clip("\n".join(lines), MAX_ANSWER)


def trouble(error: JobcastError) -> str:
    """Why a tool could not do its work."""
    if not isinstance(error, BadInput):
        return clip(f"That could not be done: {error}", MAX_ANSWER)
    lines = [f"- {pointer.lstrip('/') or 'arguments'}: {text}" for pointer, text in error.errors]
    return clip("The arguments do not fit:\n" + "\n".join(lines), MAX_ANSWER)


def doing(found: Progress | None) -> str:
    """How far a job is, and what it does."""
    said = clip(" ".join((found.message or "").split()), MAX_LINE) if found is not None else ""
    return ": ".join(filter(None, (progress(found), said)))


def _state(job: Job) -> str:
    tries = f", attempt {job.attempt} of {job.max_attempts}" if job.max_attempts > 1 else ""
    title = f", {clip(job.title, 100)!r}" if job.title else ""
    far = doing(job.progress)
    said = f" Progress: {far}." if far else ""
    ended = f" It ended at {job.finished_at}." if job.finished_at else ""
    return f"Job {job.id} ({job.task}{title}) is {job.status}{tries}.{said}{ended}"


def _question(asked: Input) -> str:
    if asked.kind == "confirm":
        return (
            f"It waits for a person's approval: {clip(asked.prompt, MAX_LINE)} Only the person can"
            " give it, on the job's card."
        )
    options = f" Options: {', '.join(map(repr, asked.options[:20]))}." if asked.options else ""
    return (
        f"It asks (input_id {asked.id}): {clip(asked.prompt, MAX_LINE)}{options} Ask the person,"
        " then use answer_job."
    )


def _tail(job: Job, log: Sequence[str], room: int) -> str:
    """As many of the last lines as there is room for."""
    head = f"\nLast log lines (of {job.log_lines}):"
    kept: list[str] = []
    room -= len(head)
    for raw in reversed(log[-TAIL:]):
        line = clip(_ANSI.sub("", raw).rstrip(), MAX_LINE)
        room -= len(line) + 1
        if room < 0:
            break
        kept.append("\n" + line)
    return head + "".join(reversed(kept)) if kept else ""


def _line(job: Job) -> str:
    far = doing(job.progress) if not job.terminal else ""
    return f"{job.id} {job.task}: {job.status}{', ' + far if far else ''} (since {job.updated_at})"
