"""What a chaos run does and when, decided by its seed alone before it begins."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

Deed = Literal["queue", "cancel", "kill", "freeze"]

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
    """At `at` seconds: queue a job, cancel the job number `number`, kill a process, or freeze one
    for `pause` seconds."""

    at: float
    deed: Deed
    number: int = 0
    kind: str = ""
    session_id: str = ""
    pause: float = 0.0
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
        request = _request(random, kind)
        steps.append(Step(at, "queue", number, kind, session, request=request))
        if random.random() < 0.1:
            steps.append(Step(at + random.expovariate(0.7), "cancel", number))
    troubles: list[tuple[Deed, str, int, float]] = [
        ("kill", "worker", workers, 3.0),
        ("kill", "warden", workers, 9.0),
        ("kill", "hub", hubs, 6.0),
        ("kill", "valkey", 1, 11.0),
        ("freeze", "valkey", 1, 13.0),
        ("freeze", "hub", hubs, 13.0),
    ]
    for deed, kind, most, every in troubles:
        at = random.uniform(0.3, 1.0) * every
        while at < seconds:
            pause = random.uniform(0.2, 4.5) if deed == "freeze" else 0.0
            steps.append(Step(at, deed, random.randrange(most), kind, pause=pause))
            at += random.uniform(0.5, 1.5) * every
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
