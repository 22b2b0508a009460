"""A whole Jobcast under kill -9 of everything (`make chaos` runs it with a seed of its own)."""

from __future__ import annotations

import random

import pytest

from tests.chaos.run import run


@pytest.mark.slow
@pytest.mark.timeout(420)
async def test_a_minute_of_kills_loses_and_doubles_nothing() -> None:
    outcome = await run(random.randrange(2**32), 60.0)
    print(outcome)
    assert outcome.wrong == []
    counts = outcome.counts
    assert counts["jobs accepted"] > 2_000
    assert counts["jobs that ran more than once"] > 0
    assert counts["stale calls refused"] > 0
    assert min(counts[f"killed {kind}"] for kind in ("worker", "warden", "hub", "valkey")) > 0
