"""The table of a job's life, as data.

The same table is enforced by the Lua scripts; a test walks both, edge by edge. A state is a
status, but for `waiting`: that is the status `input_required` while no worker holds the job.
"""

from __future__ import annotations

from typing import Literal, get_args

Status = Literal[
    "pending",
    "running",
    "input_required",
    "retrying",
    "cancelling",
    "completed",
    "failed",
    "cancelled",
]
STATUSES: tuple[Status, ...] = get_args(Status)
TERMINAL: frozenset[str] = frozenset({"completed", "failed", "cancelled"})
LIVE: frozenset[str] = frozenset(STATUSES) - TERMINAL

#: Statuses whose worker holds a lease (`input_required` only while it is not `waiting`).
LEASED: frozenset[str] = frozenset({"running", "input_required", "cancelling"})

#: (state, action) -> the states that it may lead to. What is not here is refused.
TABLE: dict[tuple[str, str], frozenset[str]] = {
    ("", "enqueue"): frozenset({"pending"}),
    ("", "enqueue_confirm"): frozenset({"waiting"}),
    ("", "enqueue_foreign"): frozenset({"pending", "running"}),
    ("pending", "claim"): frozenset({"running"}),
    ("retrying", "claim"): frozenset({"running"}),
    ("running", "complete"): frozenset({"completed"}),
    ("running", "fail"): frozenset({"failed"}),
    ("running", "retry"): frozenset({"retrying", "failed"}),
    ("running", "release"): frozenset({"pending"}),
    ("running", "reap"): frozenset({"pending", "failed"}),
    ("running", "ask"): frozenset({"input_required"}),
    ("running", "cancel"): frozenset({"cancelling"}),
    ("pending", "expire"): frozenset({"failed"}),
    ("pending", "give_up"): frozenset({"failed"}),
    ("pending", "cancel"): frozenset({"cancelled"}),
    ("retrying", "give_up"): frozenset({"failed"}),
    ("retrying", "cancel"): frozenset({"cancelled"}),
    ("waiting", "answer"): frozenset({"pending"}),
    ("waiting", "refuse"): frozenset({"cancelled"}),
    ("waiting", "cancel"): frozenset({"cancelled"}),
    ("input_required", "answer"): frozenset({"running"}),
    ("input_required", "withdraw"): frozenset({"running"}),
    ("input_required", "release"): frozenset({"waiting"}),
    ("input_required", "reap"): frozenset({"waiting"}),
    ("input_required", "cancel"): frozenset({"cancelling"}),
    ("cancelling", "confirm_cancel"): frozenset({"cancelled"}),
    ("cancelling", "reap"): frozenset({"cancelled"}),
    ("cancelling", "release"): frozenset({"cancelled"}),
    ("cancelling", "retry"): frozenset({"cancelled"}),
    ("cancelling", "ask"): frozenset({"cancelled"}),
    ("cancelling", "complete"): frozenset({"completed"}),
    ("cancelling", "fail"): frozenset({"failed"}),
}

#: Actions that change nothing where the state is already what they ask for.
IDEMPOTENT: frozenset[tuple[str, str]] = frozenset(
    {("cancelling", "cancel"), ("cancelled", "cancel")}
)


def allowed(state: str, action: str) -> frozenset[str]:
    """The states that `action` may lead to from `state`; empty where it is refused."""
    return TABLE.get((state, action), frozenset())
