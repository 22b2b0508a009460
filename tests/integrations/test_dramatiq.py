"""Dramatiq's messages as Jobcast's jobs, with a real worker."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from dramatiq import Message
from dramatiq.brokers.redis import RedisBroker

from tests.integrations.conftest import Beside, Process
from tests.liveness import wait_until
from worker.integrations.dramatiq import Jobcast

pytestmark = pytest.mark.slow


@pytest.fixture
def send(beside: Beside) -> Iterator[Callable[..., Any]]:
    """Queues a message as another program would, of session s1 unless said, and waits until that
    was told."""
    broker = RedisBroker(url=beside.broker.url)
    jobcast = Jobcast(beside.settings)
    broker.add_middleware(jobcast)
    broker.declare_queue("default")

    def send(
        name: str, *args: Any, session: str | None = "s1", delay: int | None = None, **kwargs: Any
    ) -> Any:
        options = {} if session is None else {"jobcast_session": session}
        message: Message[Any] = Message("default", name, args, kwargs, options)
        broker.enqueue(message, delay=delay)
        jobcast.reporter.flush()
        return message

    yield send
    jobcast.reporter.close()
    broker.close()


async def worker(beside: Beside, **env: str) -> Process:
    """A worker with one process and two threads that is ready."""
    process = await beside.start(
        *("-m", "dramatiq", "tests.integrations.dramatiq_actors"),
        *("--processes", "1", "--threads", "2"),
        **env,
    )
    await process.until_said("Worker process is ready for action.")
    return process


async def started(beside: Beside) -> int:
    """The pid of the process in which an actor has said that it started."""
    await wait_until(lambda: [*beside.folder.glob("started-*")])
    return int(next(beside.folder.glob("started-*")).name.removeprefix("started-"))


async def test_success_and_failure(beside: Beside, send: Callable[..., Any]) -> None:
    first = send("add", 2, b=3)
    await worker(beside)
    [job] = await beside.until_types("pending", "running", "completed")
    assert (job.task, job.result, job.queue) == ("add", 5, None)
    assert job.params == {"args": [2], "b": 3}
    assert job.metadata == {"source": "dramatiq", "id": first.message_id}
    assert job.progress is not None
    assert (job.progress.percent, job.progress.message) == (25.0, "adding")
    assert await beside.lines(job.id) == ["2 + 3"]
    send("add_async", 1, 1)
    job = await beside.until_status("completed")
    assert job.progress is not None
    assert (job.result, job.progress.percent) == (2, 50)
    send("boom")
    job = await beside.until_status("failed")
    assert job.error is not None
    assert (job.error.code, job.error.type) == ("error", "ValueError")
    assert job.error.message == "it broke"
    assert "in boom" in (job.error.traceback or "")
    # One without a session, and one whose session a function of the worker's names.
    send("add", 1, 2, session=None)
    send("add", 1, 2, session=None, user="u:7")
    [job] = await beside.until_types("pending", "running", "completed", session_id="u:7")
    assert job.params == {"args": [1, 2], "user": "u:7"}
    assert await beside.redis.zcard("jc:{p0}:jobs") == 4


async def test_retries(beside: Beside, send: Callable[..., Any]) -> None:
    await worker(beside)
    send("flaky", 2)
    [job] = await beside.until_types(
        *("pending", "running", "retrying", "running", "retrying", "running", "completed")
    )
    assert (job.attempt, job.max_attempts, job.lost, job.error) == (3, 3, 0, None)
    assert job.result == "attempt 3"
    retrying = next(e for e in await beside.events() if e["type"] == "job.retrying")["data"]
    assert retrying["error"] == {"code": "error", "message": "not yet", "type": "ConnectionError"}
    assert retrying["run_at"] is not None


async def test_retries_that_run_out(beside: Beside, send: Callable[..., Any]) -> None:
    await worker(beside)
    send("flaky", 9)
    job = await beside.until_status("failed")
    assert job.error is not None
    assert (job.attempt, job.error.type) == (3, "ConnectionError")


async def test_one_for_later_one_too_old_and_one_too_slow(
    beside: Beside, send: Callable[..., Any]
) -> None:
    send("add", 1, 2, delay=60_000, session="later")
    [job] = await beside.until_types("pending", session_id="later")
    assert job.run_at is not None
    await worker(beside)
    send("stale", session="old")
    await beside.until(lambda types: types[-1:] == ["failed"], "failed", "old")
    [job] = await beside.jobs("old")
    assert job.error is not None
    assert "skipped" in job.error.message
    send("slow")
    job = await beside.until_status("failed")
    assert job.error is not None
    assert (job.error.code, job.error.type) == ("timeout", "TimeLimitExceeded")


async def test_cancelled_in_jobcast_while_it_runs(beside: Beside, send: Callable[..., Any]) -> None:
    await worker(beside)
    send("cleans_up")
    await started(beside)
    [job] = await beside.until_types("pending", "running")
    await beside.transitions.cancel(job.id)
    await beside.until_types("pending", "running", "cancelling", "cancelled")
    assert (beside.folder / "cleaned").exists()


async def test_cancelled_in_jobcast_while_it_waits(
    beside: Beside, send: Callable[..., Any]
) -> None:
    send("wait")
    [job] = await beside.until_types("pending")
    await beside.transitions.cancel(job.id)
    running = await worker(beside)
    await running.until_said("was skipped")
    send("add", 1, 2)
    await beside.until_status("completed")
    assert not [*beside.folder.glob("started-*")]
    assert [each.status for each in await beside.jobs()] == ["cancelled", "completed"]


async def test_a_worker_that_is_killed_and_a_message_that_is_handed_out_again(
    beside: Beside, send: Callable[..., Any]
) -> None:
    running = await worker(beside)
    send("wait")
    await started(beside)
    await beside.until_types("pending", "running")
    await running.stop(signal.SIGKILL, group=True)
    [job] = await beside.until_types("pending", "running", "pending")
    assert (job.lost, job.status) == (1, "pending")
    (beside.folder / "go").touch()
    await worker(beside)
    [job] = await beside.until_types("pending", "running", "pending", "running", "completed")
    assert (job.result, job.attempt) == ("go", 1)


async def test_a_worker_that_is_stopped_says_its_last_words(
    beside: Beside, send: Callable[..., Any]
) -> None:
    running = await worker(beside)
    for _ in range(2):
        send("wait")
    await beside.until(lambda types: types.count("running") == 2, "both run")
    running.process.send_signal(signal.SIGTERM)
    await running.until_said("Stopping worker process")
    (beside.folder / "go").touch()
    async with asyncio.timeout(30):
        assert await running.process.wait() == 0
    assert (await beside.types()).count("completed") == 2
    assert [job.lost for job in await beside.jobs()] == [0, 0]


async def test_jobs_go_on_while_jobcast_is_away(beside: Beside, send: Callable[..., Any]) -> None:
    running = await worker(beside)
    send("wait")
    await started(beside)
    await beside.until_types("pending", "running")
    beside.jobcast.stop()
    (beside.folder / "go").touch()
    for n in range(3):
        send("add", n, n)
    await running.until_said("Jobcast cannot be told of jobs for now")
    beside.jobcast.start()
    await beside.until(lambda types: types.count("completed") == 4, "all told")
    jobs = await beside.jobs()
    assert sorted(str(job.result) for job in jobs) == ["0", "2", "4", "go"]
    assert [job.lost for job in jobs] == [0, 0, 0, 0]
