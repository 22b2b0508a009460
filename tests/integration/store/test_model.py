"""The real scripts against a model of the job table, driven in every order that can be thought of.

Each step is one call, made once or, as after a lost reply, twice; with the claim's token or one
that is over. After each step Redis must be what the model says.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import invariant, run_state_machine_as_test

from hub.invariant import check
from hub.states import TERMINAL
from tests.conftest import Server
from tests.integration.store.model.people import People, Time
from tests.integration.store.model.queueing import Queueing
from tests.integration.store.model.working import Working


class JobTable(Queueing, Working, People, Time):
    """All that may happen, in any order, and what must hold after each step."""

    @invariant()
    def redis_is_sound(self) -> None:
        assert self.run(check(self.redis)) == []

    @invariant()
    def jobs_are_what_the_model_says(self) -> None:
        async def look() -> list[list[str | None]]:
            names = ("status", "token", "attempt", "lost", "released")
            return [await self.store.job_fields(job_id, *names) for job_id in self.table]

        for model, found in zip(self.table.values(), self.run(look()), strict=True):
            status, token, *counts = found
            assert status == model.state.replace("waiting", "input_required")
            assert (token or "") == model.token
            assert [int(count or 0) for count in counts] == list(model.counts.values())
        for job_id in self.forgotten:
            assert self.run(self.store.job(job_id)) is None

    @invariant()
    def every_end_is_told_once(self) -> None:
        for sid in ("s1", "s2"):
            told: dict[str, list[str]] = {}
            for entry in self.run(self.store.history(sid, b"0-0")).entries:
                kind = entry.body.split(b'"type":"job.')[1].split(b'"')[0].decode()
                told.setdefault(entry.key.decode(), []).append(kind)
            for model in self.table.values():
                if model.session == sid and not model.silent:
                    ends = [kind for kind in told[model.id] if kind in TERMINAL]
                    assert ends == ([model.state] if model.state in TERMINAL else [])


def explore(server: Server, **how: Any) -> None:
    machine = type("JobTableHere", (JobTable,), {"server": server})
    quiet = [HealthCheck.too_slow, HealthCheck.filter_too_much]
    run_state_machine_as_test(
        machine, settings=settings(deadline=None, suppress_health_check=quiet, **how)
    )


def test_the_scripts_and_the_model_agree(shared_server: Server) -> None:
    explore(shared_server, max_examples=8, stateful_step_count=30, derandomize=True)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_scripts_and_the_model_agree_at_length(shared_server: Server) -> None:
    explore(shared_server, max_examples=80, stateful_step_count=50)
