"""When to try a job again, and the two exceptions by which a task decides it itself."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Fail", "Retry"]


class Retry(Exception):
    """How, or when, a job is tried again. One name, used in two places.

    As a policy it says how often and how far apart: ``@task(retry=Retry(attempts=3, base=30))``.
    Raised inside a task it asks for another try of this job: ``raise Retry("busy", after=12)``;
    without ``after`` the wait is that of the task's own policy. A raised Retry never adds tries:
    the job's ``max_attempts`` decides, which is 1 for a task without a policy.

    ``reason``    shown as the job's error message while it waits
    ``after``     exact seconds until the next try (≥ 0), instead of the backoff below
    ``attempts``  tries in all, the first included (≥ 1)
    ``base``      upper bound in seconds of the first wait (≥ 0)
    ``factor``    by which that bound grows with every further try (≥ 1)
    ``cap``       the bound never grows past this many seconds
    ``jitter``    draw each wait evenly from 0 to its bound ("full jitter"), so that jobs which
                  failed together do not come back together; False waits for the bound itself

    Raises ValueError for a number outside its range.
    """

    def __init__(
        self,
        reason: str = "",
        *,
        after: float | None = None,
        attempts: int = 3,
        base: float = 30.0,
        factor: float = 2.0,
        cap: float = 3600.0,
        jitter: bool = True,
    ) -> None:
        super().__init__(reason)
        # Written so that NaN, which compares false with everything, is refused too.
        if not isinstance(attempts, int) or attempts < 1:
            raise ValueError(f"Retry(attempts={attempts!r}): must be a whole number of at least 1")
        for name, value, least in (("base", base, 0.0), ("factor", factor, 1.0), ("cap", cap, 0.0)):
            if not least <= value < float("inf"):
                raise ValueError(f"Retry({name}={value!r}): must be a number of at least {least:g}")
        if after is not None and not 0 <= after < float("inf"):
            raise ValueError(f"Retry(after={after!r}): must be a number of at least 0")
        self.reason = reason
        self.after = after
        self.attempts = attempts
        self.base = base
        self.factor = factor
        self.cap = cap
        self.jitter = jitter

    def delay(self, attempt: int, random: Callable[[], float]) -> float:
        """Seconds to wait after try number ``attempt`` (from 1) has failed.

        ``random`` returns a number in [0, 1), as ``random.random`` does. The result is in [0, cap],
        or exactly ``after``. Full jitter as in "Exponential Backoff and Jitter" (AWS Architecture
        Blog). Raises ValueError when ``attempt`` is below 1.
        """
        if attempt < 1:
            raise ValueError(f"attempt {attempt}: the first try is number 1")
        if self.after is not None:
            return self.after
        try:
            bound = min(self.cap, self.base * self.factor ** (attempt - 1))
        except OverflowError:
            # 0 stays 0 however large its factor: only a positive base has outgrown every cap.
            bound = self.cap if self.base > 0 else 0.0
        return bound * random() if self.jitter else bound


class Fail(Exception):
    """Raised inside a task: the job has failed for good, and no further try will help.

    The job ends ``failed`` with the error ``{code: "permanent", message, type}``; ``type`` is a
    word of the task's own for its callers to match on, "Fail" unless said.
    """

    def __init__(self, message: str, *, type: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.type = type or "Fail"
