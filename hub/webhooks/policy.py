"""What follows from one try of a delivery: done, another try later, or dead. No I/O.

Times are seconds. The schedule is that of the Standard Webhooks specification's example.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final, Literal, NamedTuple

#: The wait before each try: the first is at once, and there are as many tries as entries.
SCHEDULE: Final = (0.0, 5.0, 30.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0)
TRIES: Final = len(SCHEDULE)
#: Each wait is spread by this share either way, so that what failed together does not return so.
JITTER: Final = 0.2
#: The longest `Retry-After` that is honoured; a larger one counts as this.
MAX_RETRY_AFTER: Final = 86_400.0

#: An endpoint without one success for this long is disabled ...
FAILING_FOR: Final = 5 * 86_400.0
#: ... and a quiet spell of this long between failures starts the clock again: two failures a week
#: apart say nothing of the days between. It is twice the longest wait of the schedule, rounded up.
FAILING_GAP: Final = 86_400.0

GONE: Final = 410


class Verdict(NamedTuple):
    """What to do with a delivery. `delay` (seconds) is for `retry`; `disable` is why the webhook
    itself must get nothing more, or empty."""

    kind: Literal["done", "retry", "dead"]
    delay: float = 0.0
    disable: str = ""


def judge(
    status: int | None,
    tries: int,
    retry_after: float | None,
    spread: Callable[[float, float], float],
) -> Verdict:
    """The verdict on a try.

    `status` is the HTTP status, None when there was no answer; `tries` counts the tries so far,
    this one included; `retry_after` is what the endpoint asked for, in seconds. `spread(a, b)`
    picks a number between its arguments (`random.uniform`)."""
    if status is not None and 200 <= status < 300:
        return Verdict("done")
    if status == GONE:
        return Verdict("dead", disable="the endpoint answered 410 Gone")
    if tries >= TRIES:
        return Verdict("dead")
    delay = SCHEDULE[tries] * spread(1 - JITTER, 1 + JITTER)
    if retry_after is not None:
        delay = max(delay, min(retry_after, MAX_RETRY_AFTER))
    return Verdict("retry", delay=delay)


def parse_retry_after(value: str, now: float) -> float | None:
    """Seconds from `now` (seconds since the epoch) that a `Retry-After` header asks for: 0 or
    more and at most MAX_RETRY_AFTER. None when it is neither seconds nor a date (RFC 9110 §10.2.3).
    """
    value = value.strip()
    if value.isascii() and value.isdigit():
        # More digits than any wait that is honoured; int() of thousands of them would raise.
        return MAX_RETRY_AFTER if len(value) > 9 else min(float(value), MAX_RETRY_AFTER)
    try:
        date = parsedate_to_datetime(value)
        # The oldest form of an HTTP date names no zone; all of them mean GMT.
        moment = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError, IndexError, TypeError):
        return None
    return min(max(moment - now, 0.0), MAX_RETRY_AFTER)
