"""Token buckets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.errors import TooMany
from hub.ratelimit import RateLimit


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_and_then_the_rate() -> None:
    clock = Clock()
    limit = RateLimit(2, 4, clock=clock)
    assert [limit.take("a") for _ in range(4)] == [0, 0, 0, 0]
    assert limit.take("a") == pytest.approx(0.5)
    assert limit.take("b") == 0
    clock.now += 0.5
    assert limit.take("a") == 0
    assert limit.take("a") > 0


def test_refusals_take_nothing() -> None:
    clock = Clock()
    limit = RateLimit(1, 1, clock=clock)
    limit.take("a")
    for _ in range(10):
        assert limit.take("a") == pytest.approx(1)
    clock.now += 1
    assert limit.take("a") == 0


def test_it_says_when_to_come_back() -> None:
    limit = RateLimit(0.5, 1, clock=Clock())
    limit.require("a", "jobs queued")
    with pytest.raises(TooMany, match="jobs queued") as caught:
        limit.require("a", "jobs queued")
    assert caught.value.retry_after == pytest.approx(2)


def test_no_rate_is_no_limit() -> None:
    limit = RateLimit(0, 0)
    assert all(limit.take("a") == 0 for _ in range(100))
    assert len(limit) == 0


def test_buckets_are_bounded_and_the_one_used_longest_ago_goes() -> None:
    limit = RateLimit(1, 1, most=2, clock=Clock())
    limit.take("a")
    limit.take("b")
    assert limit.take("a") > 0
    limit.take("c")
    assert len(limit) == 2
    assert limit.take("a") > 0
    assert limit.take("b") == 0


@given(st.lists(st.floats(0, 2), max_size=60), st.floats(0.5, 20), st.integers(1, 10))
def test_never_more_than_burst_and_rate_allow(steps: list[float], rate: float, burst: int) -> None:
    clock = Clock()
    limit = RateLimit(rate, burst, clock=clock)
    taken = 0
    for step in steps:
        clock.now += step
        taken += limit.take("a") == 0
    assert taken <= burst + rate * sum(steps) + 1e-6
