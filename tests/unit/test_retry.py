"""When a job is tried again."""

from __future__ import annotations

import math
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.retry import Fail, Retry

attempts = st.integers(1, 100_000)
seconds = st.floats(0, 1e9)
policies = st.builds(
    Retry,
    base=seconds,
    factor=st.floats(1, 1e6),
    cap=seconds,
    jitter=st.booleans(),
)
draws = st.floats(0, 1, exclude_max=True)


def test_waits_double_up_to_the_cap() -> None:
    retry = Retry(attempts=9, base=30, factor=2, cap=200, jitter=False)
    assert [retry.delay(n, lambda: 0.5) for n in range(1, 6)] == [30, 60, 120, 200, 200]


def test_jitter_is_drawn_from_nothing_to_the_bound() -> None:
    retry = Retry(base=30)
    assert retry.delay(2, lambda: 0.0) == 0
    assert retry.delay(2, lambda: 0.5) == 30
    assert retry.delay(2, lambda: 0.999) == pytest.approx(59.94)


def test_after_is_exact() -> None:
    assert Retry("busy", after=12).delay(7, lambda: 0.1) == 12
    assert Retry(after=0).delay(1, lambda: 0.1) == 0


@given(policies, attempts, draws)
def test_no_wait_is_below_zero_or_above_the_cap(retry: Retry, attempt: int, draw: float) -> None:
    assert 0 <= retry.delay(attempt, lambda: draw) <= retry.cap


@given(policies, attempts)
def test_without_jitter_waits_never_shrink(retry: Retry, attempt: int) -> None:
    retry.jitter = False
    assert retry.delay(attempt, lambda: 0.0) <= retry.delay(attempt + 1, lambda: 0.0)


@given(policies, attempts, draws, draws)
def test_a_higher_draw_waits_no_less(retry: Retry, attempt: int, one: float, two: float) -> None:
    low, high = sorted((one, two))
    assert retry.delay(attempt, lambda: low) <= retry.delay(attempt, lambda: high)


def test_the_first_try_is_number_one() -> None:
    with pytest.raises(ValueError, match="number 1"):
        Retry().delay(0, lambda: 0.5)


@pytest.mark.parametrize(
    "wrong",
    [
        {"attempts": 0},
        {"attempts": 1.5},
        {"base": -1},
        {"base": math.nan},
        {"factor": 0.5},
        {"cap": math.inf},
        {"after": -1},
        {"after": math.nan},
    ],
    ids=str,
)
def test_numbers_outside_their_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Retry(**wrong)  # type: ignore[arg-type]  # a wrong type is what some of them are about


def test_raised_it_has_its_reason() -> None:
    with pytest.raises(Retry, match="busy") as caught:
        raise Retry("busy", after=3)
    assert (caught.value.reason, caught.value.after) == ("busy", 3)


def test_fail_has_a_type() -> None:
    assert Fail("no").type == "Fail"
    assert Fail("no", type="NotApproved").type == "NotApproved"
    assert str(Fail("no")) == "no"


@pytest.mark.parametrize("raised", [Retry("busy", after=3, attempts=7), Fail("no", type="Not")])
def test_they_survive_the_way_from_another_process(raised: Retry | Fail) -> None:
    back = pickle.loads(pickle.dumps(raised))
    assert vars(back) == vars(raised)
    assert str(back) == str(raised)
