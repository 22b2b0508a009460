"""What was measured, round by round, and what follows from it."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

#: Ratios within a round are to these.
BASES: Final = ("c", "textbook")


@dataclass
class Tally:
    """What all clients have had, and what they missed or had twice."""

    delivered: int = 0
    lost: int = 0
    doubled: int = 0


@dataclass
class Figures:
    """Values by measure, by the system that they are of, and by what they are. A value's place in
    its list is its round; None where a round failed."""

    rounds: int
    values: dict[str, dict[str, dict[str, list[float | None]]]] = field(default_factory=dict)
    #: Why a system is left out.
    missing: dict[str, str] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)

    def put(self, measure: str, system: str, found: dict[str, float], turn: int) -> None:
        """Takes what a round has brought."""
        held = self.values.setdefault(measure, {}).setdefault(system, {})
        for name, value in found.items():
            held.setdefault(name, [None] * self.rounds)[turn] = value

    def median(self, measure: str, system: str, name: str) -> float | None:
        """The median over rounds; None where there is nothing."""
        known = self._known(measure, system, name)
        return statistics.median(known) if known else None

    def ratio(self, measure: str, system: str, name: str, base: str) -> float | None:
        """The median of the ratios to another system within a round."""
        found = self.ratios(measure, system, name, base)
        return statistics.median(found) if found else None

    def ratios(self, measure: str, system: str, name: str, base: str) -> list[float]:
        """The ratio of each round in which both were measured."""
        ours, theirs = self._all(measure, system, name), self._all(measure, base, name)
        return [a / b for a, b in zip(ours, theirs, strict=False) if a and b]

    def systems(self, measure: str) -> Iterable[str]:
        """Those that have figures of a measure."""
        return self.values.get(measure, {})

    def _all(self, measure: str, system: str, name: str) -> list[float | None]:
        return self.values.get(measure, {}).get(system, {}).get(name, [])

    def _known(self, measure: str, system: str, name: str) -> list[float]:
        return [value for value in self._all(measure, system, name) if value is not None]

    def json(self) -> dict[str, Any]:
        """All of it, with medians and ratios."""
        medians = {
            measure: {
                system: {name: self.median(measure, system, name) for name in found}
                for system, found in systems.items()
            }
            for measure, systems in self.values.items()
        }
        ratios = {
            measure: {
                system: {
                    name: {
                        base: self.ratio(measure, system, name, base)
                        for base in BASES
                        if self.ratio(measure, system, name, base) is not None
                    }
                    for name in found
                }
                for system, found in systems.items()
            }
            for measure, systems in self.values.items()
        }
        return {
            "rounds": self.rounds,
            "delivered": self.tally.delivered,
            "lost": self.tally.lost,
            "doubled": self.tally.doubled,
            "missing": self.missing,
            "failed": self.failed,
            "medians": medians,
            "ratios_within_a_round": ratios,
            "values": self.values,
        }
