"""Proves from what really happened in a chaos run that nothing was lost, doubled or told wrongly.

Pure: it is given what was accepted, what Redis holds, what was pushed and the lines that the tasks
themselves wrote, and says what cannot be."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from hub.states import TERMINAL


class Effect(NamedTuple):
    """One line of the tasks' own file, in its order."""

    job_id: str
    token: str
    what: str


class Told(NamedTuple):
    """A lifecycle event: of a session's stream, or as a subscriber got it."""

    cursor: str
    type: str
    job_id: str
    rev: int


@dataclass
class End:
    """A job as Redis holds it in the end; `log` is its log's lines, in order."""

    session_id: str
    kind: str
    status: str
    result: Any = None
    code: str = ""
    claims: int = 0
    log: Sequence[str] = ()


@dataclass
class History:
    """All that is known of a run. `accepted` maps ids that a caller was told to their session."""

    accepted: Mapping[str, str] = field(default_factory=dict)
    jobs: Mapping[str, End] = field(default_factory=dict)
    streams: Mapping[str, Sequence[Told]] = field(default_factory=dict)
    pushed: Mapping[str, Sequence[Told]] = field(default_factory=dict)
    effects: Sequence[Effect] = ()


def check(history: History) -> list[str]:
    """Every violation as a sentence; empty when the run was as it must be."""
    return [
        *_accepted(history),
        *_streams(history),
        *_pushed(history),
        *_claims(history),
        *_results(history),
    ]


def _accepted(history: History) -> Iterable[str]:
    for job_id, session_id in history.accepted.items():
        end = history.jobs.get(job_id)
        if end is None:
            yield f"{job_id} was accepted and is gone"
        elif end.status not in TERMINAL:
            yield f"{job_id} ({end.kind}) is still {end.status}"
        elif end.session_id != session_id:
            yield f"{job_id} is in {end.session_id}, not in {session_id}"
    for job_id in history.jobs:
        if job_id not in history.accepted:
            yield f"{job_id} is there, and nobody was told that it was accepted"


def _streams(history: History) -> Iterable[str]:
    ends: dict[str, list[str]] = defaultdict(list)
    for session_id, told in history.streams.items():
        yield from _contiguous(f"the stream of {session_id}", told)
        for event in told:
            kind = event.type.removeprefix("job.")
            if kind in TERMINAL:
                ends[event.job_id].append(kind)
    for job_id, end in history.jobs.items():
        if ends[job_id] != [end.status]:
            yield f"{job_id} is {end.status}, and these ends were told: {ends[job_id]}"


def _pushed(history: History) -> Iterable[str]:
    for session_id, told in history.pushed.items():
        yield from _contiguous(f"the subscriber of {session_id}", told)
        stream = history.streams.get(session_id, ())
        if list(told) != list(stream):
            missing = len(set(stream) - set(told))
            yield f"the subscriber of {session_id} was not told {missing} of {len(stream)} events"


def _contiguous(who: str, told: Sequence[Told]) -> Iterable[str]:
    revs: Counter[str] = Counter()
    ended: set[str] = set()
    for before, event in zip([None, *told], told, strict=False):
        number = int(event.cursor.split("-")[0])
        if before is not None and number != int(before.cursor.split("-")[0]) + 1:
            yield f"{who}: {event.cursor} follows {before.cursor}"
        if event.job_id in ended:
            yield f"{who}: {event.type} of {event.job_id} comes after its end"
        if event.rev <= revs[event.job_id]:
            yield f"{who}: the rev of {event.job_id} does not rise at {event.cursor}"
        revs[event.job_id] = event.rev
        if event.type.removeprefix("job.") in TERMINAL:
            ended.add(event.job_id)


def _claims(history: History) -> Iterable[str]:
    """Two claims overlapped if an effect of the earlier one came after one of the later one."""
    newest: dict[str, str] = {}
    for effect in history.effects:
        now = newest.setdefault(effect.job_id, effect.token)
        if effect.token == now:
            continue
        if _number(effect.token) <= _number(now):
            yield f"{effect.job_id}: {effect.what} under {effect.token} came after {now} had begun"
        newest[effect.job_id] = max(now, effect.token, key=_number)
    for job_id, token in newest.items():
        end = history.jobs.get(job_id)
        if end is not None and _number(token) > end.claims:
            yield f"{job_id} did something under {token}, and was claimed {end.claims} times"


def _results(history: History) -> Iterable[str]:
    """What a completed job returned and logged last is of the claim that did it; no earlier claim
    has written anything after a later one."""
    done = {(e.job_id, e.token) for e in history.effects if e.what == "end"}
    for job_id, end in history.jobs.items():
        if end.status == "completed":
            if (job_id, end.result) not in done:
                yield f"{job_id} ({end.kind}) completed with {end.result!r}, which no claim did"
            elif _number(end.result) != end.claims:
                yield f"{job_id} has the result of {end.result}, not of claim {end.claims}"
        numbers = [_number(token) for token in end.log]
        if numbers != sorted(numbers):
            yield f"{job_id}: an earlier claim logged after a later one: {end.log}"


def _number(token: str) -> int:
    return int(token.split(":")[0])
