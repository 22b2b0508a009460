"""What must be true of one job, whatever was done to it."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field

from hub.states import TABLE

MAX_LOST = 3
ERROR = b'{"code":"error","message":"x"}'
HELD = {"running", "input_required", "cancelling"}
ENDS = {"complete": "finish", "fail": "finish", "confirm_cancel": "finish"}


@dataclass
class Model:
    """What is true of one job."""

    id: str
    session: str
    state: str
    place: str = "ready"
    key: str = ""
    attempts_allowed: int = 2
    counts: dict[str, int] = field(default_factory=lambda: {"attempt": 1, "lost": 0, "released": 0})
    token: str = ""
    tokens: list[str] = field(default_factory=lambda: ["1:0"])
    last_end: str = ""
    question: str = ""
    confirm: bool = False
    foreign: bool = False
    later: bool = False
    expiring: bool = False
    silent: bool = False
    answers: dict[str, bytes] = field(default_factory=dict)
    retried_by: str = ""

    def step(self, action: str) -> bool:
        """Takes an action as the table has it; False where it is refused."""
        if self.state == "input_required" and action in ("complete", "fail", "retry"):
            self.state = "running"
        targets: Set[str] = TABLE.get((self.state, action), frozenset())
        if not targets:
            return False
        if len(targets) == 2:
            name, limit = {
                "retry": ("attempt", self.attempts_allowed),
                "reap": ("lost", 0 if self.foreign else MAX_LOST + 1),
            }[action]
            self.counts[name] += action == "reap" and not self.foreign
            over = self.counts[name] >= limit
            self.counts[name] += action == "retry" and not over
            targets = {"failed"} if over else targets - {"failed"}
        self.counts["released"] += action == "release" and targets == {"pending"}
        [self.state] = targets
        if self.token and self.state not in HELD:
            self.tokens.append(self.token)
            self.token, self.last_end = "", ENDS.get(action, action)
        if self.state not in ("input_required", "waiting"):
            self.question = ""
        return True
