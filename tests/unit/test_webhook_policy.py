"""The schedule of tries, on a clock that the test moves."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.webhooks.policy import (
    FAILING_GAP,
    MAX_RETRY_AFTER,
    SCHEDULE,
    TRIES,
    judge,
    parse_retry_after,
)


def middle(low: float, high: float) -> float:
    return (low + high) / 2


def test_a_dead_endpoint_is_tried_on_schedule_and_then_no_more() -> None:
    clock, times, tries = 0.0, [0.0], 1
    while (verdict := judge(503, tries, None, middle)).kind == "retry":
        clock += verdict.delay
        times.append(clock)
        tries += 1
    assert verdict.kind == "dead"
    assert not verdict.disable
    waits = [later - earlier for earlier, later in pairwise(times)]
    assert waits == [5, 30, 300, 1800, 7200, 18_000, 36_000]
    assert tries == TRIES == 8


@given(tries=st.integers(1, TRIES - 1), draw=st.floats(0, 1))
def test_waits_are_spread_by_a_fifth(tries: int, draw: float) -> None:
    verdict = judge(None, tries, None, lambda low, high: low + (high - low) * draw)
    assert verdict.kind == "retry"
    assert SCHEDULE[tries] * 0.799 <= verdict.delay <= SCHEDULE[tries] * 1.201


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_is_done(status: int) -> None:
    assert judge(status, 1, None, middle).kind == "done"


@pytest.mark.parametrize("status", [None, 101, 199, 300, 302, 400, 404, 429, 500, 503])
def test_anything_else_is_tried_again(status: int | None) -> None:
    assert judge(status, 1, None, middle).kind == "retry"


def test_gone_is_dead_at_once_and_disables() -> None:
    verdict = judge(410, 1, 60.0, middle)
    assert verdict.kind == "dead"
    assert "410" in verdict.disable


def test_retry_after_is_honoured_within_its_bound() -> None:
    assert judge(503, 1, 120.0, middle).delay == 120
    assert judge(503, 1, 1.0, middle).delay == 5
    assert judge(503, 1, 10**9, middle).delay == MAX_RETRY_AFTER
    assert judge(503, TRIES, 120.0, middle).kind == "dead"


def test_no_wait_of_the_schedule_looks_like_a_quiet_spell() -> None:
    assert max(SCHEDULE) * 1.2 < FAILING_GAP


NOW = datetime(2026, 11, 23, 19, 20, 30, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        (" 120 ", 120),
        ("9" * 5000, MAX_RETRY_AFTER),
        ("Mon, 23 Nov 2026 19:21:30 GMT", 60),
        ("Monday, 23-Nov-26 19:21:30 GMT", 60),
        ("Mon Nov 23 19:21:30 2026", 60),
        ("Mon, 23 Nov 2026 19:20:00 GMT", 0),
        ("Mon, 23 Nov 2099 19:20:00 GMT", MAX_RETRY_AFTER),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("٣", None),
        ("Mon, 99 Nov 2026 19:21:30 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str, seconds: float | None) -> None:
    assert parse_retry_after(value, NOW) == seconds


@given(st.text(max_size=60))
def test_no_retry_after_raises(value: str) -> None:
    seconds = parse_retry_after(value, NOW)
    assert seconds is None or 0 <= seconds <= MAX_RETRY_AFTER


@given(st.integers(0, int(MAX_RETRY_AFTER)))
def test_a_date_means_the_time_until_then(ahead: int) -> None:
    value = format_datetime(datetime.fromtimestamp(NOW + ahead, UTC), usegmt=True)
    assert parse_retry_after(value, NOW) == ahead
