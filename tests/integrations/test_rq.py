"""RQ's jobs as Jobcast's jobs, with a real worker."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from redis import Redis
from rq import Retry
from rq.command import send_stop_job_command
from rq.job import Job

from tests.integrations import rq_jobs
from tests.integrations.conftest import Beside, Process
from tests.liveness import wait_until
from worker.integrations.rq import JobcastQueue, configure, reporter

pytestmark = pytest.mark.slow

META = {"jobcast_session": "s1"}


@pytest.fixture
def queue(beside: Beside) -> Iterator[JobcastQueue]:
    """The queue of a program that only queues."""
    configure(beside.settings)
    with Redis.from_url(beside.broker.url) as redis:
        yield JobcastQueue(connection=redis)
    configure()


def put(queue: JobcastQueue, function: Any, *args: Any, **options: Any) -> Job:
    """Queues a job of session s1 unless said, and waits until that was told."""
    job = queue.enqueue(function, *args, **{"meta": {**META}, **options})
    reporter().flush()
    return job


async def worker(beside: Beside, kind: str = "TestedWorker", **env: str) -> Process:
    """A worker that listens."""
    process = await beside.start(
        *("-m", "rq.cli", "worker", "--url", beside.broker.url),
        *("--worker-class", f"tests.integrations.rq_jobs.{kind}"),
        **env,
    )
    await process.until_said("Listening on default")
    return process


async def started(beside: Beside) -> int:
    """The pid of the process in which a job has said that it started."""
    await wait_until(lambda: [*beside.folder.glob("started-*")])
    return int(next(beside.folder.glob("started-*")).name.removeprefix("started-"))


@pytest.mark.parametrize("kind", ["TestedWorker", "TestedSimpleWorker"])
async def test_success_and_failure(beside: Beside, queue: JobcastQueue, kind: str) -> None:
    first = put(queue, rq_jobs.add, 2, b=3)
    await worker(beside, kind)
    [job] = await beside.until_types("pending", "running", "completed")
    assert (job.task, job.result, job.queue) == ("tests.integrations.rq_jobs.add", 5, None)
    assert job.params == {"args": [2], "b": 3}
    assert job.metadata == {"source": "rq", "id": first.id}
    assert job.progress is not None
    assert (job.progress.percent, job.progress.message) == (25.0, "adding")
    assert await beside.lines(job.id) == ["2 + 3"]
    put(queue, rq_jobs.boom)
    job = await beside.until_status("failed")
    assert job.error is not None
    assert (job.error.code, job.error.type) == ("error", "ValueError")
    assert job.error.message == "it broke"
    assert "in boom" in (job.error.traceback or "")
    # One without a session, and one whose session a function of the worker's names.
    put(queue, rq_jobs.add, 1, 2, meta=None)
    queue.enqueue(rq_jobs.add, 1, 2, user="u:7")
    [job] = await beside.until_types("pending", "running", "completed", session_id="u:7")
    assert job.params == {"args": [1, 2], "user": "u:7"}
    assert await beside.redis.zcard("jc:{p0}:jobs") == 3


async def test_retries(beside: Beside, queue: JobcastQueue) -> None:
    await worker(beside)
    put(queue, rq_jobs.flaky, 2, retry=Retry(max=2))
    [job] = await beside.until_types(
        *("pending", "running", "retrying", "running", "retrying", "running", "completed")
    )
    assert (job.attempt, job.max_attempts, job.lost, job.error) == (3, 3, 0, None)
    assert job.result == "attempt 3"
    retrying = next(e for e in await beside.events() if e["type"] == "job.retrying")["data"]
    assert retrying["error"] == {"code": "error", "message": "not yet", "type": "ConnectionError"}


async def test_retries_that_run_out(beside: Beside, queue: JobcastQueue) -> None:
    await worker(beside)
    put(queue, rq_jobs.flaky, 9, retry=Retry(max=1))
    job = await beside.until_status("failed")
    assert job.error is not None
    assert (job.attempt, job.error.type) == (2, "ConnectionError")


async def test_a_job_for_later_and_one_that_is_cancelled(
    beside: Beside, queue: JobcastQueue
) -> None:
    job = queue.enqueue_in(timedelta(minutes=5), rq_jobs.add, 1, 2, meta={**META})
    [told] = await beside.until_types("pending")
    assert told.run_at is not None
    job.cancel()
    await beside.until_types("pending", "cancelled")


async def test_many_at_once(beside: Beside, queue: JobcastQueue) -> None:
    data = [queue.prepare_data(rq_jobs.add, (n, n), meta={**META}) for n in range(3)]
    queue.enqueue_many(data)
    assert len(await beside.until_types("pending", "pending", "pending")) == 3


async def test_stopped_while_it_runs(beside: Beside, queue: JobcastQueue) -> None:
    await worker(beside)
    job = put(queue, rq_jobs.wait)
    await started(beside)
    send_stop_job_command(queue.connection, job.id)
    await beside.until_types("pending", "running", "cancelling", "cancelled")


async def test_cancelled_in_jobcast_while_it_runs(beside: Beside, queue: JobcastQueue) -> None:
    await worker(beside)
    put(queue, rq_jobs.wait)
    pid = await started(beside)
    [told] = await beside.until_types("pending", "running")
    await beside.transitions.cancel(told.id)
    await beside.until_types("pending", "running", "cancelling", "cancelled")
    await wait_until(lambda: not os.path.exists(f"/proc/{pid}"))


async def test_cancelled_in_jobcast_while_it_waits(beside: Beside, queue: JobcastQueue) -> None:
    job = put(queue, rq_jobs.wait)
    [told] = await beside.until_types("pending")
    await beside.transitions.cancel(told.id)
    await worker(beside)
    await wait_until(lambda: job.get_status() == "canceled")
    assert not [*beside.folder.glob("started-*")]
    # The worker goes on, and whoever queues it once more means it.
    (beside.folder / "go").touch()
    queue.enqueue_job(job)
    await beside.until_status("completed")
    assert [each.retry_of for each in await beside.jobs()] == [None, told.id]


async def test_code_that_looks_whether_it_is_cancelled(beside: Beside, queue: JobcastQueue) -> None:
    await worker(beside, "TestedSimpleWorker")
    put(queue, rq_jobs.asks)
    [told] = await beside.until_types("pending", "running")
    await beside.transitions.cancel(told.id)
    # It had the time to finish, so that is what it did.
    await beside.until_types("pending", "running", "cancelling", "completed")


async def test_a_time_limit(beside: Beside, queue: JobcastQueue) -> None:
    await worker(beside)
    put(queue, rq_jobs.wait, "never", job_timeout=1)
    job = await beside.until_status("failed")
    assert job.error is not None
    assert (job.error.code, job.error.type) == ("timeout", "JobTimeoutException")


async def test_a_horse_that_is_killed(beside: Beside, queue: JobcastQueue) -> None:
    await worker(beside)
    put(queue, rq_jobs.dies)
    [job] = await beside.until_types("pending", "running", "failed")
    assert job.error is not None
    assert job.error.code == "lost"
    assert "signal 9" in job.error.message


async def test_a_worker_that_is_killed(beside: Beside, queue: JobcastQueue) -> None:
    running = await worker(beside)
    put(queue, rq_jobs.wait)
    horse = await started(beside)
    await beside.until_types("pending", "running")
    await running.stop(signal.SIGKILL)
    os.kill(horse, signal.SIGKILL)
    [job] = await beside.until_types("pending", "running", "failed")
    assert job.error is not None
    assert job.error.code == "lost"


async def test_a_worker_that_is_killed_and_a_job_that_may_be_retried(
    beside: Beside, queue: JobcastQueue
) -> None:
    running = await worker(beside)
    job = put(queue, rq_jobs.wait, retry=Retry(max=1))
    horse = await started(beside)
    await beside.until_types("pending", "running")
    await running.stop(signal.SIGKILL)
    os.kill(horse, signal.SIGKILL)
    [told] = await beside.until_types("pending", "running", "pending")
    assert told.lost == 1
    # RQ's own housekeeping finds the job abandoned (as if its time were over) and retries it.
    (beside.folder / "go").touch()
    queue.started_job_registry.cleanup(timestamp=2**40)
    assert job.get_status() == "queued"
    await worker(beside)
    [told] = await beside.until_types("pending", "running", "pending", "running", "completed")
    assert told.result == "go"


@pytest.mark.parametrize("result_ttl", [500, 0])
async def test_jobs_go_on_while_jobcast_is_away(
    beside: Beside, queue: JobcastQueue, result_ttl: int
) -> None:
    running = await worker(beside)
    put(queue, rq_jobs.wait, result_ttl=result_ttl)
    await started(beside)
    await beside.until_types("pending", "running")
    beside.jobcast.stop()
    (beside.folder / "go").touch()
    for n in range(2):
        put(queue, rq_jobs.add, n, n, result_ttl=result_ttl)
    failing = put(queue, rq_jobs.boom)
    await wait_until(lambda: failing.get_status() == "failed", seconds=30)
    beside.jobcast.start()
    await beside.until(
        lambda types: types.count("completed") == 3 and types.count("failed") == 1, "all told"
    )
    assert [job.lost for job in await beside.jobs()] == [0, 0, 0, 0]
    if result_ttl:
        assert sorted(str(job.result) for job in await beside.jobs()) == ["0", "2", "None", "go"]
    error = next(job.error for job in await beside.jobs() if job.error is not None)
    assert (error.type, error.message) == ("ValueError", "it broke")
    assert running.process.returncode is None
