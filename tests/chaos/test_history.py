"""The checker of chaos runs finds what it is there for."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from tests.chaos.history import Effect, End, History, Told, check
from tests.chaos.plan import make_plan

EVENTS = [
    Told("1-5", "job.pending", "a", 1),
    Told("2-9", "job.running", "a", 2),
    Told("3-1", "job.pending", "a", 3),
    Told("4-4", "job.running", "a", 4),
    Told("5-2", "job.completed", "a", 6),
]
GOOD = History(
    accepted={"a": "s"},
    jobs={"a": End("s", "slow", "completed", result="2:7", claims=2, log=["1:3", "2:7", "2:7"])},
    streams={"s": EVENTS},
    pushed={"s": EVENTS},
    effects=[
        Effect("a", "1:3", "start"),
        Effect("a", "1:3", "beat"),
        Effect("a", "2:7", "start"),
        Effect("a", "2:7", "end"),
    ],
)


def test_a_good_history_is_good() -> None:
    assert check(GOOD) == []


def job(**changes: Any) -> dict[str, Any]:
    return {"jobs": {"a": dataclasses.replace(GOOD.jobs["a"], **changes)}}


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"jobs": {}}, "is gone"),
        ({"accepted": {}}, "nobody was told"),
        (job(status="running"), "is still running"),
        (job(session_id="t"), "not in s"),
        (job(status="failed"), "these ends were told"),
        (job(result="1:3"), "which no claim did"),
        (job(claims=3), "not of claim 3"),
        (job(claims=1), "was claimed 1 times"),
        (job(log=["2:7", "1:3"]), "logged after"),
        ({"streams": {"s": [*EVENTS, Told("6-1", "job.completed", "a", 7)]}}, "after its end"),
        ({"streams": {"s": EVENTS[:-1]}}, "these ends were told: []"),
        ({"pushed": {"s": EVENTS[:-1]}}, "was not told 1 of 5"),
        ({"pushed": {"s": EVENTS[1:]}}, "was not told 1 of 5"),
        ({"pushed": {"s": [*EVENTS[:2], *EVENTS[1:]]}}, "2-9 follows 2-9"),
        ({"pushed": {"s": [*EVENTS[:1], *EVENTS[2:]]}}, "3-1 follows 1-5"),
        ({"effects": [*GOOD.effects, Effect("a", "1:3", "beat")]}, "came after 2:7 had begun"),
        ({"effects": GOOD.effects[:-1]}, "which no claim did"),
    ],
)
def test_what_is_wrong_is_found(changes: dict[str, Any], found: str) -> None:
    wrong = check(dataclasses.replace(GOOD, **changes))
    assert any(found in sentence for sentence in wrong), wrong


def test_a_seed_makes_one_plan() -> None:
    plan = make_plan(7, 20, rate=10, workers=3, hubs=2)
    assert plan == make_plan(7, 20, rate=10, workers=3, hubs=2)
    assert [step.request for step in plan] == [
        step.request for step in make_plan(7, 20, rate=10, workers=3, hubs=2)
    ]
    assert plan != make_plan(8, 20, rate=10, workers=3, hubs=2)
    assert {step.kind for step in plan if step.deed == "kill"} == {
        "worker",
        "warden",
        "hub",
        "valkey",
    }
    assert sum(step.deed == "queue" for step in plan) == 200
