"""SAQ's jobs as Jobcast's jobs, with a real worker."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from saq import Job, Status
from saq.job import TERMINAL_STATUSES
from saq.queue.redis import RedisQueue

from tests.conftest import wait_until as until_true
from tests.integrations.conftest import Beside, Process
from tests.liveness import wait_until
from worker.integrations.saq import install

pytestmark = [
    pytest.mark.slow,
    # SAQ calls what the Redis client advises against.
    pytest.mark.filterwarnings("ignore:Call to deprecated:DeprecationWarning"),
]

SWEEP_LOCK = "saq:default:sweep"
META = {"jobcast_session": "s1"}


@pytest.fixture
async def queue(beside: Beside) -> AsyncIterator[RedisQueue]:
    """The queue of a program that only queues."""
    queue = install(RedisQueue.from_url(beside.broker.url), beside.settings)
    # A sweep takes a job for lost that a worker has claimed and not yet noted to run.
    await queue.redis.set(SWEEP_LOCK, 1)
    yield queue
    await queue.disconnect()


async def worker(beside: Beside, **env: str) -> Process:
    process = await beside.start("-m", "saq", "-v", "tests.integrations.saq_app.settings", **env)
    await process.until_said("Worker starting")
    return process


async def enqueue(queue: RedisQueue, function: str, **kwargs: Any) -> Job:
    """Queues a job of session s1."""
    job = await queue.enqueue(function, **{"meta": dict(META), **kwargs})
    assert job is not None
    return job


async def ended(job: Job) -> Status:
    """What SAQ itself says once it is over."""

    async def over() -> bool:
        # Not its own way to wait, which misses an end that comes before it listens.
        await job.refresh()
        return job.status in TERMINAL_STATUSES

    await until_true(over, "SAQ's own end of a job")
    return job.status


async def test_success(beside: Beside, queue: RedisQueue) -> None:
    sent = await enqueue(queue, "add", a=2, b=3)
    [job] = await beside.until_types("pending")
    assert (job.task, job.queue, job.params) == ("add", None, {"a": 2, "b": 3})
    assert job.metadata == {"source": "saq", "id": f"default:{sent.key}"}
    await worker(beside)
    [job] = await beside.until_types("pending", "running", "completed")
    assert (job.result, job.attempt, job.max_attempts) == (5, 1, 1)
    assert job.progress is not None
    assert job.progress.percent == 25.0
    assert await beside.lines(job.id) == ["2 + 3"]
    assert await ended(sent) == Status.COMPLETE


async def test_failure_and_who_is_told(beside: Beside, queue: RedisQueue) -> None:
    await worker(beside)
    sent = await enqueue(queue, "boom")
    [job] = await beside.until_types("pending", "running", "failed")
    assert job.error is not None
    assert (job.error.code, job.error.type) == ("error", "ValueError")
    assert job.error.message == "it broke"
    assert "in boom" in (job.error.traceback or "")
    assert await ended(sent) == Status.FAILED
    # By a function of the job, which only the worker has; a job without a session is nobody's.
    nobodys = await enqueue(queue, "add", a=1, b=2, meta={})
    users = await enqueue(queue, "add", a=1, b=2, user="u:7", meta={})
    assert await ended(nobodys) == await ended(users) == Status.COMPLETE
    assert await beside.redis.zcard("jc:{p0}:jobs") == 1


async def test_a_session_by_function(beside: Beside) -> None:
    queue = install(
        RedisQueue.from_url(beside.broker.url),
        beside.settings,
        session_of=lambda job: (job.kwargs or {}).get("user"),
    )
    await enqueue(queue, "add", a=1, b=2, user="u:7", meta={})
    await worker(beside)
    [job] = await beside.until_types("pending", "running", "completed", session_id="u:7")
    assert job.params == {"a": 1, "b": 2, "user": "u:7"}
    await queue.disconnect()


async def test_a_key_that_is_queued_already(beside: Beside, queue: RedisQueue) -> None:
    await enqueue(queue, "add", a=1, b=2, key="once")
    assert await queue.enqueue("add", a=3, b=4, key="once", meta=dict(META)) is None
    await worker(beside)
    [job] = await beside.until_types("pending", "running", "completed")
    assert job.result == 3


async def test_retries(beside: Beside, queue: RedisQueue) -> None:
    await worker(beside)
    await enqueue(queue, "flaky", fails=2, retries=3, retry_delay=0.2)
    [job] = await beside.until_types(
        *("pending", "running", "retrying", "running", "retrying", "running", "completed")
    )
    assert (job.attempt, job.max_attempts, job.lost, job.error) == (3, 3, 0, None)
    assert job.result == "attempt 3"
    retrying = await beside.first("retrying")
    assert retrying["error"] == {"code": "error", "message": "not yet", "type": "ConnectionError"}
    assert retrying["attempt"] == 2


async def test_retries_that_run_out(beside: Beside, queue: RedisQueue) -> None:
    await worker(beside)
    await enqueue(queue, "flaky", fails=9, retries=2)
    job = await beside.until_status("failed")
    assert job.error is not None
    assert (job.attempt, job.error.type) == (2, "ConnectionError")


async def test_a_job_that_takes_too_long(beside: Beside, queue: RedisQueue) -> None:
    await worker(beside)
    await enqueue(queue, "wait", name="never", timeout=1)
    [job] = await beside.until_types("pending", "running", "failed")
    assert job.error is not None
    assert (job.error.code, job.error.type) == ("timeout", "TimeoutError")


@pytest.mark.parametrize("scheduled", [False, True])
async def test_aborted_while_it_waits(beside: Beside, queue: RedisQueue, scheduled: bool) -> None:
    sent = await enqueue(queue, "wait", scheduled=int(time.time()) + 3_600 if scheduled else 0)
    await beside.until_types("pending")
    await sent.abort("not needed")
    await beside.until_types("pending", "cancelled")


async def test_aborted_while_it_runs(beside: Beside, queue: RedisQueue) -> None:
    await worker(beside)
    sent = await enqueue(queue, "wait")
    await wait_until(lambda: (beside.folder / "started").exists())
    await sent.abort("not needed")
    await beside.until_types("pending", "running", "cancelling", "cancelled")
    assert await ended(sent) == Status.ABORTED


async def test_cancelled_in_jobcast_while_it_runs(beside: Beside, queue: RedisQueue) -> None:
    await worker(beside)
    sent = await enqueue(queue, "wait")
    [job] = await beside.until_types("pending", "running")
    await beside.transitions.cancel(job.id)
    await beside.until_types("pending", "running", "cancelling", "cancelled")
    assert await ended(sent) == Status.ABORTED
    assert sent.error == "cancelled in Jobcast"


async def test_cancelled_in_jobcast_while_it_waits(beside: Beside, queue: RedisQueue) -> None:
    sent = await enqueue(queue, "wait", retries=5)
    [job] = await beside.until_types("pending")
    assert await beside.transitions.cancel(job.id) == "cancelled"
    await worker(beside)
    assert await ended(sent) == Status.ABORTED
    assert sent.error == "cancelled in Jobcast"
    assert not (beside.folder / "started").exists()
    # The worker is none the worse for it.
    await enqueue(queue, "add", a=1, b=2)
    await beside.until_types("pending", "cancelled", "pending", "running", "completed")


async def test_a_function_in_a_thread(beside: Beside, queue: RedisQueue) -> None:
    await worker(beside)
    await enqueue(queue, "in_a_thread")
    [job] = await beside.until_types("pending", "running")
    await beside.transitions.cancel(job.id)
    # It looked before SAQ did, and has a result.
    [job] = await beside.until_types("pending", "running", "cancelling", "completed")
    assert job.progress is not None
    assert (job.progress.percent, job.progress.message) == (75.0, "in a thread")
    assert job.result == "asked to stop"


async def test_a_worker_that_is_killed(beside: Beside, queue: RedisQueue) -> None:
    running = await worker(beside)
    await enqueue(queue, "wait", timeout=1_000)
    await wait_until(lambda: (beside.folder / "started").exists())
    await beside.until_types("pending", "running")
    await running.stop(signal.SIGKILL, group=True)
    [job] = await beside.until_types("pending", "running", "failed")
    assert job.error is not None
    assert job.error.code == "lost"


async def test_a_worker_that_is_killed_and_a_job_that_is_swept(
    beside: Beside, queue: RedisQueue
) -> None:
    running = await worker(beside)
    sent = await enqueue(queue, "wait", timeout=4, retries=2)
    await wait_until(lambda: (beside.folder / "started").exists())
    await beside.until_types("pending", "running")
    await running.stop(signal.SIGKILL, group=True)
    [job] = await beside.until_types("pending", "running", "pending")
    assert job.lost == 1
    (beside.folder / "go").touch()
    await queue.redis.delete(SWEEP_LOCK)
    await worker(beside)
    [job] = await beside.until_types("pending", "running", "pending", "running", "completed")
    assert (job.lost, job.result) == (1, "go")
    assert await ended(sent) == Status.COMPLETE


async def test_a_worker_that_is_stopped_gives_jobs_back(beside: Beside, queue: RedisQueue) -> None:
    running = await worker(beside)
    await enqueue(queue, "wait", retries=3)
    await wait_until(lambda: (beside.folder / "started").exists())
    await beside.until_types("pending", "running")
    await running.stop()
    [job] = await beside.until_types("pending", "running", "pending")
    assert (job.released, job.lost) == (1, 0)
    (beside.folder / "go").touch()
    await worker(beside)
    [job] = await beside.until_types("pending", "running", "pending", "running", "completed")
    assert job.result == "go"


async def test_jobs_go_on_while_jobcast_is_away(beside: Beside, queue: RedisQueue) -> None:
    running = await worker(beside)
    first = await enqueue(queue, "wait", timeout=60)
    await beside.until_types("pending", "running")
    beside.jobcast.stop()
    (beside.folder / "go").touch()
    assert await ended(first) == Status.COMPLETE
    others = [await enqueue(queue, "add", a=n, b=n) for n in range(3)]
    assert [await ended(each) for each in others] == [Status.COMPLETE] * 3
    assert [each.result for each in others] == [0, 2, 4]
    await running.until_said("Jobcast cannot be told of jobs for now")
    beside.jobcast.start()
    await beside.until(lambda types: types.count("completed") == 4, "all told")
    jobs = await beside.jobs()
    assert sorted(str(job.result) for job in jobs) == ["0", "2", "4", "go"]
    assert [job.lost for job in jobs] == [0, 0, 0, 0]


async def test_cron_jobs_are_a_job_each(beside: Beside) -> None:
    """Every firing has the same key; it is another job all the same."""
    queue = install(RedisQueue.from_url(beside.broker.url), beside.settings)
    for scheduled in (1, 2):
        job = Job("add", {"a": 1, "b": 2}, key="cron:add", scheduled=scheduled, meta=dict(META))
        assert await queue.enqueue(job) is not None
        await queue.finish(job, Status.ABORTED, error="not needed")
        await queue.redis.delete(job.id)
    await beside.until_types("pending", "cancelled", "pending", "cancelled")
    assert [job.retry_of for job in await beside.jobs()] == [None, None]
    await queue.disconnect()


async def test_what_saq_cannot_note_is_given_back(beside: Beside) -> None:
    queue = install(RedisQueue.from_url(beside.broker.url), beside.settings)
    job = Job("add", {"a": 1, "b": 2}, meta=dict(META), attempts=1)
    await queue.enqueue(job)
    await queue.update(job, status=Status.ACTIVE)
    await beside.until_types("pending", "running")
    beside.broker.stop()
    try:
        with pytest.raises(Exception, match=r"refused|closed|Connect"):
            await queue.finish(job, Status.COMPLETE, result=3)
    finally:
        await asyncio.to_thread(beside.broker.start)
    await beside.until_types("pending", "running", "pending")
    await queue.disconnect()
