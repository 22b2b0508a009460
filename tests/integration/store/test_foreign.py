"""Jobs of somebody else's queue, as its integrations tell of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis

from hub import keys
from hub.connection import connect_sync
from hub.enqueue import Enqueuer
from hub.errors import Busy, Conflict
from hub.foreign import EARLY_END_KEPT, ForeignJob, ForeignJobs, new_token
from hub.jobs import Job
from hub.scripts import Scripts
from hub.settings import Settings
from hub.transitions import Fate
from tests.conftest import Server
from tests.integration.store.conftest import Driver

JOB = ForeignJob("s1", "theirs", b'{"n":1}', max_attempts=3, metadata=b'{"source":"x","id":"a"}')
ERROR = b'{"code":"error","message":"x"}'


@pytest.fixture
def client(valkey: Server) -> Iterator[Redis]:
    with connect_sync(valkey.url) as client:
        yield client


@pytest.fixture
def foreign(client: Redis, scripts: Scripts) -> ForeignJobs:
    return ForeignJobs(client, scripts)


def begin(foreign: ForeignJobs, job: ForeignJob = JOB, ref: str = "x:a") -> tuple[str, str]:
    """A run that has started: the job's id and the run's token."""
    token = new_token()
    started = foreign.start(ref, job, token, lease=15, worker="w@1:2")
    assert started.verdict == "running"
    return started.job_id, token


async def one(driver: Driver) -> Job:
    """The only job."""
    [job] = (await driver.store.jobs(session_id="s1")).jobs
    return job


async def expire(driver: Driver, job_id: str, zset: str = keys.RUNNING) -> None:
    """Its time there is over; the tick comes by."""
    assert await driver.redis.zscore(zset, job_id) is not None
    await driver.redis.zadd(zset, {job_id: 1})
    await driver.ticker.once()


async def test_a_whole_life(driver: Driver, foreign: ForeignJobs) -> None:
    queued = foreign.queue("x:a", JOB, delay=60)
    job = await driver.job(queued)
    assert (job.status, job.queue, job.rev, job.task) == ("pending", None, 1, "theirs")
    assert (job.max_attempts, bytes(job.params), bytes(job.metadata)) == (
        3,
        b'{"n":1}',
        JOB.metadata,
    )
    assert job.run_at is not None
    job_id, token = begin(foreign)
    assert job_id == queued == foreign.find("x:a")
    job = await driver.job(job_id)
    assert (job.status, job.worker, job.run_at) == ("running", "w@1:2", None)
    assert foreign.progress(job_id, token, b'{"percent":10}') == "running"
    assert foreign.log(job_id, token, 1, [b'{"stream":"stdout","text":"hi"}']) == "running"
    assert foreign.heartbeat(15, [(job_id, token)]) == ["running"]
    assert foreign.end("x:a", token, "completed", b'{"a":1}') == "completed"
    job = await driver.job(job_id)
    assert (job.status, bytes(job.result), job.log_lines) == ("completed", b'{"a":1}', 1)
    assert await driver.types() == ["job.pending", "job.running", "job.completed"]


async def test_whoever_speaks_first_makes_the_job(driver: Driver, foreign: ForeignJobs) -> None:
    job_id, token = begin(foreign)
    assert foreign.queue("x:a", JOB) == job_id
    foreign.end("x:a", token, "completed", b"1")
    assert foreign.queue("x:a", JOB) == job_id
    assert await driver.types() == ["job.running", "job.completed"]
    assert foreign.find("x:b") is None


@pytest.mark.parametrize("fate", ["failed", "cancelled"])
async def test_an_end_that_is_faster_than_the_word_of_who_queued_it(
    driver: Driver, foreign: ForeignJobs, fate: Fate
) -> None:
    said = (ERROR, b'"trace"') if fate == "failed" else ()
    assert foreign.end("x:a", "", fate, *said) is None
    assert foreign.end("x:a", "", fate, *said) is None
    job_id = foreign.queue("x:a", JOB, delay=5)
    assert foreign.queue("x:a", JOB) == job_id
    assert await driver.types() == ["job.pending", f"job.{fate}"]
    job = await driver.job(job_id)
    assert (job.error is not None) == (fate == "failed")
    assert await driver.redis.keys(f"{keys.EARLY}*") == []
    # It was told with that: another that its queue hands out under the name is a new one.
    assert foreign.start("x:a", JOB, new_token(), lease=15).verdict == "running"


async def test_an_end_of_what_is_run_after_all(driver: Driver, foreign: ForeignJobs) -> None:
    foreign.end("x:a", "", "failed", ERROR)
    begin(foreign)
    assert await driver.types() == ["job.running"]
    assert await driver.redis.keys(f"{keys.EARLY}*") == []


async def test_early_ends_are_bounded(
    driver: Driver, foreign: ForeignJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.foreign.EARLY_ENDS", 2)
    for ref in ("x:a", "x:b", "x:c"):
        foreign.end(ref, "", "failed", ERROR)
    assert sorted(await driver.redis.keys(f"{keys.EARLY}:*")) == [
        b"jc:{p0}:early:x:b",
        b"jc:{p0}:early:x:c",
    ]
    for key in await driver.redis.keys(f"{keys.EARLY}*"):
        assert 0 < await driver.redis.pttl(key) <= EARLY_END_KEPT * 1000
    for ref in ("x:a", "x:c"):
        foreign.queue(ref, JOB)
    assert await driver.types() == ["job.pending", "job.pending", "job.failed"]


async def test_every_call_may_be_repeated(driver: Driver, foreign: ForeignJobs) -> None:
    job_id, token = begin(foreign)
    again = foreign.start("x:a", JOB, token, lease=15)
    assert (again.verdict, again.job_id) == ("running", job_id)
    for _ in range(2):
        assert foreign.retry("x:a", token, ERROR, delay=5) == "retrying"
    job_id, token = begin(foreign)
    for _ in range(2):
        assert foreign.release("x:a", token) == "pending"
    job_id, token = begin(foreign)
    for _ in range(2):
        assert foreign.end("x:a", token, "failed", ERROR, b'"trace"') == "failed"
    assert foreign.start("x:a", JOB, token, lease=15).verdict == "over"
    assert foreign.end("x:a", token, "completed") is None
    assert await driver.types() == [
        *("job.running", "job.retrying", "job.running", "job.pending", "job.running"),
        "job.failed",
    ]
    job = await driver.job(job_id)
    assert (job.attempt, job.released, job.lost) == (2, 1, 0)
    assert job.error is not None
    assert job.error.traceback == "trace"


async def test_a_retry_and_the_attempt_after_it(driver: Driver, foreign: ForeignJobs) -> None:
    job_id, token = begin(foreign)
    foreign.retry("x:a", token, ERROR, delay=60)
    job = await driver.job(job_id)
    assert (job.status, job.attempt, job.worker) == ("retrying", 2, None)
    assert job.error is not None
    assert job.run_at is not None
    assert await driver.redis.zscore(keys.DELAYED, job_id) is None
    await driver.ticker.once()
    begin(foreign)
    job = await driver.job(job_id)
    assert (job.status, job.attempt, job.error, job.run_at) == ("running", 2, None, None)


async def test_redelivery_takes_the_job_from_a_process_that_was_lost(
    driver: Driver, foreign: ForeignJobs
) -> None:
    job_id, first = begin(foreign)
    _, second = begin(foreign)
    assert (await driver.job(job_id)).lost == 1
    assert await driver.types() == ["job.running", "job.pending", "job.running"]
    assert foreign.heartbeat(15, [(job_id, first), (job_id, second)]) == ["lost", "running"]
    assert foreign.end("x:a", first, "completed") is None
    assert foreign.retry("x:a", first, ERROR) is None
    assert foreign.progress(job_id, first, b"{}") is None
    # What was lost may not come back, either.
    fresh = foreign.start("x:a", JOB, new_token(), lease=15, take=False)
    assert (fresh.verdict, fresh.job_id) == ("taken", job_id)


async def test_a_later_attempt_means_that_the_one_before_was_retried(
    driver: Driver, foreign: ForeignJobs
) -> None:
    job_id, first = begin(foreign)
    started = foreign.start("x:a", JOB, new_token(), lease=15, attempt=2)
    assert started.verdict == "running"
    assert await driver.types() == ["job.running", "job.retrying", "job.running"]
    job = await driver.job(job_id)
    assert (job.attempt, job.lost) == (2, 0)
    assert foreign.retry("x:a", first, ERROR) == "running"


async def test_a_lease_that_is_over(driver: Driver, foreign: ForeignJobs) -> None:
    job_id, token = begin(foreign)
    await expire(driver, job_id)
    job = await driver.job(job_id)
    assert job.error is not None
    assert (job.status, job.error.code) == ("failed", "lost")
    assert foreign.end("x:a", token, "completed") is None
    # It was only held up: what has ended stays so, and the run goes on as another job.
    again = foreign.start("x:a", JOB, new_token(), lease=15, take=False)
    assert again.verdict == "running"
    fresh = await driver.job(again.job_id)
    assert (fresh.retry_of, fresh.status) == (job_id, "running")
    assert (await driver.job(job_id)).retried_by == fresh.id
    assert await driver.redis.zcard(keys.DEAD) == 0


async def test_a_lease_that_is_over_where_the_queue_hands_out_again(
    driver: Driver, foreign: ForeignJobs
) -> None:
    patient = JOB._replace(redelivers=600)
    job_id, _ = begin(foreign, patient)
    await expire(driver, job_id)
    job = await driver.job(job_id)
    assert (job.status, job.lost, job.worker) == ("pending", 1, None)
    # The same process comes back …
    resumed = foreign.start("x:a", patient, new_token(), lease=15, take=False)
    assert (resumed.verdict, resumed.job_id) == ("running", job_id)
    # … or nobody does.
    await expire(driver, job_id)
    await expire(driver, job_id, keys.PARKED_FOREIGN)
    job = await driver.job(job_id)
    assert job.error is not None
    assert (job.status, job.lost, job.error.code) == ("failed", 2, "lost")


@pytest.mark.parametrize("how", ["queued", "retried"])
async def test_a_job_that_is_never_handed_out(
    driver: Driver, foreign: ForeignJobs, how: str
) -> None:
    if how == "queued":
        job_id = foreign.queue("x:a", JOB, patience=60)
    else:
        job_id, token = begin(foreign)
        foreign.retry("x:a", token, ERROR, patience=60)
    await driver.ticker.once()
    assert not (await driver.job(job_id)).terminal
    await expire(driver, job_id, keys.PARKED_FOREIGN)
    job = await driver.job(job_id)
    assert job.error is not None
    assert (job.status, job.error.code, job.run_at) == ("failed", "lost", None)


async def test_a_run_that_told_its_end_does_not_go_on(driver: Driver, foreign: ForeignJobs) -> None:
    _, token = begin(foreign)
    foreign.retry("x:a", token, ERROR)
    # Its heartbeat still thought that it held the job.
    assert foreign.start("x:a", JOB, new_token(), lease=15, take=False).verdict == "over"
    assert (await one(driver)).status == "retrying"


async def test_cancelled_while_it_waits(driver: Driver, foreign: ForeignJobs) -> None:
    job_id = foreign.queue("x:a", JOB)
    assert await driver.do.cancel(job_id) == "cancelled"
    token = new_token()
    for _ in range(2):
        assert foreign.start("x:a", JOB, token, lease=15).verdict == "cancelled"
    # Its queue was told. If it runs the job once more, somebody wants it to.
    again, _ = begin(foreign)
    assert (await driver.job(again)).retry_of == job_id


async def test_cancelled_while_it_runs(driver: Driver, foreign: ForeignJobs) -> None:
    job_id, token = begin(foreign)
    assert await driver.do.cancel(job_id) == "cancelling"
    assert foreign.heartbeat(15, [(job_id, token)]) == ["cancelling"]
    assert foreign.end("x:a", token, "cancelled") == "cancelled"
    again, token = begin(foreign)
    assert (await driver.job(again)).retry_of == job_id
    # A failure or a success that comes first is what happened.
    await driver.do.cancel(again)
    assert foreign.end("x:a", token, "completed", b"1") == "completed"


async def test_cancelled_between_two_attempts(driver: Driver, foreign: ForeignJobs) -> None:
    job_id, token = begin(foreign)
    await driver.do.cancel(job_id)
    assert foreign.retry("x:a", token, ERROR) == "cancelled"
    assert foreign.start("x:a", JOB, new_token(), lease=15).verdict == "cancelled"


async def test_cancelled_and_its_process_lost(driver: Driver, foreign: ForeignJobs) -> None:
    job_id, _ = begin(foreign, JOB._replace(redelivers=600))
    await driver.do.cancel(job_id)
    assert foreign.start("x:a", JOB, new_token(), lease=15).verdict == "cancelled"
    assert (await driver.job(job_id)).status == "cancelled"


async def test_ended_from_outside(driver: Driver, foreign: ForeignJobs) -> None:
    waiting = foreign.queue("x:a", JOB)
    assert foreign.end("x:a", "", "completed") is None
    assert foreign.end("x:a", "", "cancelled") == "cancelled"
    failed = foreign.queue("x:b", JOB, delay=5)
    assert foreign.end("x:b", "", "failed", ERROR) == "failed"
    running, token = begin(foreign, ref="x:c")
    assert foreign.end("x:c", "", "failed", ERROR) == "failed"
    assert foreign.end("x:c", token, "completed") is None
    given_up, _ = begin(foreign, ref="x:d")
    assert foreign.end("x:d", "", "cancelled") == "cancelled"
    assert foreign.end("x:e", "", "failed", ERROR) is None
    found = [(await driver.job(i)).status for i in (waiting, failed, running, given_up)]
    assert found == ["cancelled", "failed", "failed", "cancelled"]
    assert (await driver.types())[-3:] == ["job.running", "job.cancelling", "job.cancelled"]


async def test_a_session_that_was_deleted(driver: Driver, foreign: ForeignJobs) -> None:
    foreign.queue("x:a", JOB)
    job_id, token = begin(foreign, ref="x:b")
    await driver.store.forget("s1")
    assert foreign.start("x:a", JOB, new_token(), lease=15).verdict == "gone"
    assert foreign.queue("x:a", JOB)
    assert foreign.heartbeat(15, [(job_id, token)]) == ["cancelling"]
    assert foreign.end("x:b", token, "cancelled") == "cancelled"
    assert (await driver.store.jobs(session_id="s1")).jobs == []


async def test_what_is_learnt_later(driver: Driver, foreign: ForeignJobs) -> None:
    job_id = foreign.queue("x:a", JOB._replace(max_attempts=1))
    _, token = begin(foreign, JOB._replace(redelivers=60))
    assert (await driver.job(job_id)).max_attempts == 3
    foreign.retry("x:a", token, ERROR)
    begin(foreign, JOB._replace(max_attempts=2))
    assert (await driver.job(job_id)).max_attempts == 3
    await expire(driver, job_id)
    assert (await driver.job(job_id)).status == "failed"


async def test_a_full_outbox_holds_up_beginnings_only(
    driver: Driver, client: Redis, valkey: Server
) -> None:
    small = ForeignJobs(client, Scripts(Settings(redis_url=valkey.url, outbox_entries=1)))
    foreign = ForeignJobs(client, Scripts(Settings(redis_url=valkey.url)))
    _, token = begin(foreign)
    await driver.redis.xadd(keys.OUTBOX, {"x": "y"})
    with pytest.raises(Busy):
        small.queue("x:b", JOB)
    with pytest.raises(Busy):
        small.start("x:b", JOB, new_token(), lease=15)
    assert small.end("x:a", token, "completed") == "completed"
    await driver.redis.delete(keys.OUTBOX)


async def test_refs_are_forgotten_after_their_jobs(driver: Driver, foreign: ForeignJobs) -> None:
    _, token = begin(foreign)
    foreign.end("x:a", token, "completed")
    keep = await driver.redis.pttl(keys.foreign("x:a"))
    assert 0 < keep <= 7 * 86_400_000


async def test_what_ends_things_may_run_without_memory(scripts: Scripts) -> None:
    for name in ("foreign_end", "foreign_retry"):
        assert scripts[name].source.startswith("#!lua flags=allow-oom\n")


async def test_a_manual_retry_is_for_its_own_queue(
    driver: Driver, foreign: ForeignJobs, settings: Settings
) -> None:
    job_id, token = begin(foreign)
    foreign.end("x:a", token, "failed", ERROR)
    with pytest.raises(Conflict, match="run by x"):
        await Enqueuer(driver.store, settings).retry(await driver.job(job_id), credential="c")
    assert (await driver.job(job_id)).retried_by is None
