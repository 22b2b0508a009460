"""What comes of code: errors, results, and how they are written."""

from __future__ import annotations

import json
from typing import Any

import pytest

from worker.outcome import MESSAGE_BYTES, TRACEBACK_BYTES, Outcome, completed, raised, timed_out
from worker.reporter import cut
from worker.retry import Fail, Retry
from worker.tasks import task


@task(retry=Retry(attempts=3, base=10, factor=3, jitter=False))
async def patient() -> Any: ...


@task
async def plain() -> dict[str, int]:
    return {}


def one() -> float:
    return 1.0


def test_an_error_is_tried_again_by_the_policy() -> None:
    outcome = raised(patient, 2, ValueError("no"), one)

    assert (outcome.kind, outcome.delay) == ("retry", 30)
    assert json.loads(outcome.error()) == {"code": "error", "message": "no", "type": "ValueError"}


def test_fail_and_retry_decide_themselves() -> None:
    assert raised(patient, 1, Fail("no", type="Mine"), one).script() == (
        "finish",
        ["failed", '{"code":"permanent","message":"no","type":"Mine"}', ""],
    )
    assert raised(patient, 1, Retry("busy", after=7), one).delay == 7
    assert raised(patient, 1, Retry("busy"), one).delay == 10


def test_an_error_without_words_is_called_by_its_type() -> None:
    assert raised(plain, 1, KeyError(), one).message == "KeyError"


def test_messages_and_tracebacks_are_bounded() -> None:
    def deep(n: int) -> None:
        if n:
            # Two functions in turn: a traceback folds frames that repeat.
            (deeper if n % 2 else deep)(n - 1)
        raise ValueError("é" * 100_000)

    def deeper(n: int) -> None:
        deep(n)

    try:
        deep(200)
    except ValueError as error:
        outcome = raised(plain, 1, error, one)
    assert len(json.loads(outcome.error())["message"].encode()) <= MESSAGE_BYTES
    assert len(json.loads(outcome.trace()).encode()) <= TRACEBACK_BYTES


def test_a_result_is_checked_and_bounded() -> None:
    assert bytes(completed(plain, {"a": 1}, 100).result) == b'{"a":1}'
    assert completed(plain, {"a": "one"}, 100).type == "ResultError"
    large = completed(plain, {"a" * 100: 1}, 100)
    assert (large.kind, large.code, large.type) == ("failed", "permanent", "ResultTooLarge")


def test_a_timeout_is_tried_again() -> None:
    outcome = timed_out(patient, 1, 2.5, one)
    script, (delay, error, trace) = outcome.script()
    assert (script, delay, trace) == ("retry", "10000", "")
    assert json.loads(error)["code"] == "timeout"


def test_what_was_stopped_is_given_back() -> None:
    assert Outcome(kind="stopped").script() == ("release", [])


@pytest.mark.parametrize(
    ("text", "limit"), [("x" * 200, 100), ("é" * 100, 99), ("\ud800" * 200, 64), ("🙂" * 50, 77)]
)
def test_cut_text_fits_and_says_what_is_missing(text: str, limit: int) -> None:
    shown = cut(text, limit)
    assert len(shown.encode()) <= limit
    assert shown.endswith("more bytes]")


def test_short_text_stays() -> None:
    assert cut("é", 2) == "é"
    assert cut("\ud800", 10) == "?"
