"""What a chaos run does and when, decided by its seed alone before it begins."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

Deed = Literal["queue", "cancel", "kill"]

#: Of a hundred jobs, how many are of which kind.
KINDS = {
    "instant": 34,
    "slow": 20,
    "waits": 8,
    "failing": 8,
    "retrying": 12,
    "asking": 7,
    "command": 8,
    "poison": 0,
    "delayed": 3,
}
SESSIONS = 12


@dataclass(frozen=True, order=True)
class Step:
    """At `at` seconds: queue a job, cancel the job number `number`, or kill a process."""

    at: float
    deed: Deed
    number: int = 0
    kind: str = ""
    session_id: str = ""
    request: dict[str, Any] = field(default_factory=dict, compare=False)


def make_plan(seed: int, seconds: float, *, rate: float, workers: int, hubs: int) -> list[Step]:
    """Steps in their order: `rate` jobs a second, a tenth of them cancelled, a poisoned one every
    12 s, and kills all the time."""
    random = Random(seed)
    steps: list[Step] = []
    count = int(seconds * rate)
    poisoned = {int(n * rate * 12 + rate * 4) for n in range(int(seconds / 12) + 1)}
    for number in range(count):
        at = number / rate
        kind = "poison" if number in poisoned else random.choices([*KINDS], [*KINDS.values()])[0]
        session = f"chaos:{random.randrange(SESSIONS)}"
        steps.append(Step(at, "queue", number, kind, session, _request(random, kind)))
        if random.random() < 0.1:
            steps.append(Step(at + random.expovariate(0.7), "cancel", number))
    for kind, most, pause in (
        ("worker", workers, 3.0),
        ("warden", workers, 9.0),
        ("hub", hubs, 6.0),
        ("valkey", 1, 11.0),
    ):
        at = random.uniform(0.3, 1.0) * pause
        while at < seconds:
            steps.append(Step(at, "kill", random.randrange(most), kind))
            at += random.uniform(0.5, 1.5) * pause
    return sorted(steps)


def _request(random: Random, kind: str) -> dict[str, Any]:
    request: dict[str, Any] = {"task": kind, "params": {}, "priority": random.choice([3, 5, 5, 7])}
    match kind:
        case "slow" | "waits" | "command":
            request["params"] = {"seconds": round(random.uniform(0.1, 2.0), 2)}
        case "retrying":
            request["params"] = {"times": random.randint(1, 4)}
        case "delayed":
            request.update(task="instant", delay=round(random.uniform(0.1, 5.0), 2))
    return request
