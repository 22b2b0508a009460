"""What the watchdog does about leases that run out, and loops that are stuck."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest

from worker import watchdog as module
from worker.epilogue import LastWord
from worker.leases import Held, Leases
from worker.watchdog import PATIENCE, Watchdog

LEASE = 10.0


class Scene:
    """A clock that stands, one claim, and a loop that listens or not."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        self.words: list[str] = []
        self.spoken: list[list[LastWord]] = []
        self.posted: list[Callable[[], None]] = []
        self.listens = True
        self.held_now = [
            Held("j", "1:1", self.now + LEASE, self.words.append, lambda: LastWord("j", "1:1", "x"))
        ]
        self.lease = LEASE
        monkeypatch.setattr(module, "boottime", lambda: self.now)
        self.watchdog = Watchdog(cast(Leases, self), self.post, self.speak)

    @property
    def one(self) -> Held:
        return self.held_now[0]

    def held(self) -> list[Held]:
        return self.held_now

    def post(self, call: Callable[[], None]) -> None:
        if self.listens:
            call()

    def speak(self, words: Sequence[LastWord]) -> None:
        self.spoken.append(list(words))

    def at(self, now: float) -> float:
        self.now = now
        return self.watchdog.look()


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    return Scene(monkeypatch)


def test_a_job_is_stopped_before_its_lease_is_over(scene: Scene) -> None:
    scene.at(108.9)
    assert scene.words == []
    scene.at(109.1)
    scene.at(109.2)
    assert scene.words == ["fence"]
    assert scene.spoken == []


def test_code_that_outlives_its_lease_ends_the_worker(scene: Scene) -> None:
    scene.one.alive = True
    assert scene.at(109.5) <= 110
    scene.at(110)
    # Each is given back, in case that its token is still good.
    assert [[word.script for word in words] for words in scene.spoken] == [["x"]]


def test_a_lease_without_code_ends_nothing(scene: Scene) -> None:
    scene.at(111)
    assert scene.spoken == []


def test_a_renewed_lease_stops_nothing(scene: Scene) -> None:
    scene.one.alive = True
    scene.one.valid_until = 200
    scene.at(111)
    assert (scene.words, scene.spoken) == ([], [])


def overdue(scene: Scene) -> Any:
    scene.one.alive = True
    scene.one.valid_until = 1_000
    scene.one.overdue = 105
    return scene


def test_an_overdue_job_is_left_to_a_loop_that_answers(scene: Scene) -> None:
    overdue(scene)
    scene.at(105)
    scene.at(105 + PATIENCE + 1)
    assert scene.spoken == []


def test_a_stuck_loop_with_an_overdue_job_ends_the_worker(scene: Scene) -> None:
    overdue(scene).listens = False
    scene.at(105)
    scene.at(105 + PATIENCE)
    assert scene.spoken == []
    scene.at(105.1 + PATIENCE)
    assert [[word.job_id for word in words] for words in scene.spoken] == [["j"]]
