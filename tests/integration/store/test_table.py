"""The Lua scripts against the table: each edge is taken, each other one refused."""

from __future__ import annotations

from typing import Any

import pytest

from hub import keys
from hub.errors import Conflict, StaleToken
from hub.states import IDEMPOTENT, TABLE, TERMINAL, allowed
from tests.integration.store.conftest import Driver

STATES = [
    *("pending", "running", "input_required", "waiting", "retrying", "cancelling"),
    *sorted(TERMINAL),
]
ACTIONS = sorted({action for state, action in TABLE if state})
#: A question that is not a confirm takes "no" for an answer like any other.
NOT_A_CONFIRM = {("input_required", "refuse"): "running"}
#: A worker that ends a job while its question is open takes it back first: two edges in one script.
ENDINGS = {"complete", "fail", "retry"}


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("state", STATES)
async def test_every_pair_of_state_and_action(driver: Driver, state: str, action: str) -> None:
    job_id = await driver.reach(state)
    assert await driver.state(job_id) == state
    before = await driver.job(job_id)
    types = await driver.types()
    refused = False
    try:
        await driver.act(action, job_id)
    except (Conflict, StaleToken):
        refused = True
    after = await driver.state(job_id)
    targets = allowed(state, action)
    if (state, action) in NOT_A_CONFIRM:
        assert after == NOT_A_CONFIRM[state, action]
    elif state == "input_required" and action in ENDINGS:
        assert after in allowed("running", action)
        assert (await driver.types())[len(types) :] == ["job.running", f"job.{after}"]
    elif targets:
        assert not refused
        assert after in targets
    else:
        assert after == state
        assert (await driver.job(job_id)).rev == before.rev
        assert await driver.types() == types
        if (state, action) in IDEMPOTENT:
            assert not refused


@pytest.mark.parametrize(
    ("how", "state", "kind"),
    [
        ({}, "pending", "job.pending"),
        ({"confirm": "Sure?"}, "waiting", "job.input_required"),
        ({"queue": None}, "running", "job.running"),
        ({"delay": 60.0}, "pending", "job.pending"),
    ],
)
async def test_creation(driver: Driver, how: dict[str, Any], state: str, kind: str) -> None:
    job_id = await driver.queue(**how)
    assert await driver.state(job_id) == state
    assert await driver.types() == [kind]
    assert (await driver.job(job_id)).rev == 1


async def test_a_retryable_error_without_attempts_left_fails(driver: Driver) -> None:
    job_id = await driver.queue(max_attempts=1)
    [claim] = await driver.claim()
    error = b'{"code":"timeout","message":"too long"}'
    assert await driver.do.retry(job_id, claim.token, 5, error) == "failed"
    job = await driver.job(job_id)
    assert (job.attempt, job.error and job.error.code) == (1, "timeout")


async def test_retrying_raises_attempt_and_nothing_else(driver: Driver) -> None:
    job_id = await driver.reach("retrying")
    job = await driver.job(job_id)
    assert (job.attempt, job.lost, job.released) == (2, 0, 0)
    assert job.run_at is not None


async def test_release_costs_nothing_and_comes_first_again(driver: Driver) -> None:
    first = await driver.queue()
    await driver.claim()
    await driver.queue()
    await driver.do.release(first, driver.tokens[first])
    job = await driver.job(first)
    assert (job.attempt, job.lost, job.released) == (1, 0, 1)
    assert [claim.job_id for claim in await driver.claim()] == [first]


async def test_a_job_that_keeps_losing_its_worker_fails(driver: Driver) -> None:
    job_id = await driver.queue()
    for lost in range(1, 4):
        await driver.claim()
        await driver.act("reap", job_id)
        assert (await driver.job(job_id)).lost == lost
        assert await driver.state(job_id) == "pending"
    await driver.claim()
    await driver.act("reap", job_id)
    job = await driver.job(job_id)
    assert (job.status, job.lost, job.attempt) == ("failed", 4, 1)
    assert job.error is not None
    assert job.error.code == "lost"


async def test_a_foreign_job_that_goes_silent_fails_at_once(driver: Driver) -> None:
    job_id = await driver.queue(queue=None)
    await driver.act("reap", job_id)
    job = await driver.job(job_id)
    assert job.status == "failed"
    assert job.error is not None
    assert job.error.code == "lost"


async def test_finishing_while_a_question_is_open_withdraws_it(driver: Driver) -> None:
    job_id = await driver.reach("input_required")
    await driver.do.finish(job_id, driver.tokens[job_id], "completed", b"1")
    assert (await driver.types())[-2:] == ["job.running", "job.completed"]
    assert (await driver.job(job_id)).input is None


async def test_expires_in_is_heeded_at_the_claim_too(driver: Driver) -> None:
    job_id = await driver.queue(expires_in=0.0)
    assert await driver.claim() == []
    job = await driver.job(job_id)
    assert job.error is not None
    assert (job.status, job.error.code) == ("failed", "expired")


async def test_what_has_started_does_not_expire(driver: Driver) -> None:
    job_id = await driver.queue(expires_in=60.0)
    assert await driver.redis.zscore(keys.EXPIRING, job_id) is not None
    await driver.claim()
    await driver.do.release(job_id, driver.tokens[job_id])
    assert await driver.redis.zscore(keys.EXPIRING, job_id) is None
    assert not await driver.redis.hexists(keys.job(job_id), "expires_at")
