"""What came of running a task's code once. No I/O."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any, Final, Literal

import msgspec
from msgspec import Raw, Struct

from worker.reporter import cut
from worker.retry import Fail, Retry
from worker.signature import InvalidParams
from worker.tasks import ResultError, Task

MESSAGE_BYTES: Final = 2 * 1024
TRACEBACK_BYTES: Final = 32 * 1024


class Outcome(Struct, kw_only=True):
    """`completed` has a result; `failed` is for good; `retry` is for the job's policy, after
    `delay` seconds; `stopped`: the code ended because it was told to."""

    kind: Literal["completed", "failed", "retry", "stopped"]
    result: Raw = Raw(b"null")
    code: str = "error"
    message: str = ""
    type: str | None = None
    traceback: str | None = None
    delay: float = 0.0

    def error(self) -> bytes:
        """The error of a job as JSON, without its traceback."""
        error = {"code": self.code, "message": cut(self.message, MESSAGE_BYTES)}
        if self.type:
            error["type"] = cut(self.type, 200)
        return msgspec.json.encode(error)

    def script(self) -> tuple[str, list[str]]:
        """The script that writes it, and its arguments behind the job's id and token."""
        error, trace = self.error().decode(), self.trace().decode()
        match self.kind:
            case "completed":
                return "finish", ["completed", bytes(self.result).decode(), ""]
            case "failed":
                return "finish", ["failed", error, trace]
            case "retry":
                return "retry", [str(int(self.delay * 1000)), error, trace]
            case _:
                return "release", []

    def trace(self) -> bytes:
        """The traceback as a JSON string, or nothing."""
        return msgspec.json.encode(self.traceback) if self.traceback else b""


def completed(task: Task, value: Any, limit: int) -> Outcome:
    """What comes of a value that the code returned; a result is `limit` bytes at most."""
    try:
        raw = task.encode_result(value)
    except ResultError as error:
        return Outcome(kind="failed", code="permanent", message=str(error), type="ResultError")
    if len(raw) > limit:
        message = (
            f"task {task.name} returned {len(raw):,} bytes of JSON; a result has at most "
            f"{limit:,}. Keep it elsewhere and return where"
        )
        return Outcome(kind="failed", code="permanent", message=message, type="ResultTooLarge")
    return Outcome(kind="completed", result=Raw(raw))


def invalid(error: InvalidParams) -> Outcome:
    """Params that the task does not take."""
    return Outcome(kind="failed", code="invalid_params", message=str(error), type="InvalidParams")


def raised(task: Task, attempt: int, error: BaseException, random: Callable[[], float]) -> Outcome:
    """What comes of an exception that left the code on its try number `attempt`."""
    policy = task.retry or Retry()
    match error:
        case Fail():
            return Outcome(kind="failed", code="permanent", message=error.message, type=error.type)
        case Retry():
            after = policy.delay(attempt, random) if error.after is None else error.after
            message = error.reason or "It asked for another try."
            return Outcome(kind="retry", message=message, type="Retry", delay=after)
    return Outcome(
        kind="retry",
        message=str(error) or type(error).__name__,
        type=type(error).__name__,
        traceback=_trace(error),
        delay=policy.delay(attempt, random),
    )


def timed_out(task: Task, attempt: int, seconds: float, random: Callable[[], float]) -> Outcome:
    """What comes of code that took too long."""
    return Outcome(
        kind="retry",
        code="timeout",
        message=f"It took longer than {seconds:g} s.",
        type="Timeout",
        delay=(task.retry or Retry()).delay(attempt, random),
    )


def _trace(error: BaseException) -> str:
    # The first frame is the worker's own call of the code.
    trace = error.__traceback__.tb_next if error.__traceback__ else None
    shown = "".join(traceback.format_exception(type(error), error, trace))
    raw = shown.encode("utf-8", "replace")
    return raw[-TRACEBACK_BYTES:].decode("utf-8", "ignore")
