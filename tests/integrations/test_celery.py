"""Celery's tasks as Jobcast's jobs, with a real worker."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from celery import Celery

from tests.integrations.conftest import Beside, Process
from tests.liveness import wait_until
from worker.integrations.celery import install

pytestmark = pytest.mark.slow

HEADERS = {"jobcast_session": "s1"}
MODULE = "tests.integrations.celery_app"


@pytest.fixture
def app(beside: Beside) -> Celery:
    """The app of a program that only queues."""
    return Celery("sender", broker=beside.broker.url, backend=beside.broker.url)


@pytest.fixture
def send(beside: Beside, app: Celery) -> Iterator[Callable[..., Any]]:
    """Queues a task from there, with the header of session s1 unless said."""
    installed = install(
        app, beside.settings, session_of=lambda name, args, kwargs: kwargs.get("user")
    )

    def send(name: str, *args: Any, headers: Any = HEADERS, **options: Any) -> Any:
        sent = app.send_task(f"{MODULE}.{name}", args, headers=headers, **options)
        installed.reporter.flush()
        return sent

    yield send
    installed.uninstall()
    app.close()


async def worker(beside: Beside, *options: str, **env: str) -> Process:
    """A worker with one child process that is ready."""
    process = await beside.start(
        *("-m", "celery", "-A", MODULE, "worker", "--concurrency", "1"),
        *("--without-gossip", "--without-mingle", "-l", "INFO", *options),
        **env,
    )
    await process.until_said(" ready.")
    return process


async def got(sent: Any) -> Any:
    """What a task's own client gets for a result."""
    return await asyncio.to_thread(sent.get, timeout=20)


async def started(beside: Beside, prefix: str = "started") -> int:
    """The pid of the child process in which a task has said that it started."""
    await wait_until(lambda: [*beside.folder.glob(f"{prefix}-*")])
    return int(next(beside.folder.glob(f"{prefix}-*")).name.removeprefix(f"{prefix}-"))


async def test_success(beside: Beside, send: Callable[..., Any]) -> None:
    sent = send("add", 2, 3)
    await worker(beside)
    [job] = await beside.until_types("pending", "running", "completed")
    assert (job.task, job.result, job.queue) == (f"{MODULE}.add", 5, None)
    assert job.params == {"args": [2, 3]}
    assert job.metadata == {"source": "celery", "id": sent.id}
    assert job.worker is not None
    assert job.worker.startswith("celery@")
    assert job.progress is not None
    assert (job.progress.percent, job.progress.message) == (25.0, "adding")
    assert await beside.lines(job.id) == ["2 + 3"]
    assert await got(sent) == 5


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
async def test_failure_and_who_is_told(beside: Beside, send: Callable[..., Any], pool: str) -> None:
    await worker(beside, "--pool", pool)
    send("boom")
    [job] = await beside.until_types("pending", "running", "failed")
    assert job.error is not None
    assert (job.error.code, job.error.type) == ("error", "ValueError")
    assert job.error.message == "it broke"
    assert "in boom" in (job.error.traceback or "")
    # By a function of the arguments; and a task without a session is nobody's.
    assert await got(send("add", 1, 2, headers=None)) == 3
    assert await got(send("add", 1, 2, headers=None, kwargs={"user": "u:7"})) == 3
    [job] = await beside.until_types("pending", "running", "completed", session_id="u:7")
    assert job.params == {"args": [1, 2], "user": "u:7"}
    assert await beside.redis.zcard("jc:{p0}:jobs") == 2


async def test_a_bad_session_is_no_obstacle(
    beside: Beside, send: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    await worker(beside)
    assert await got(send("add", 1, 2, headers={"jobcast_session": "not a session"})) == 3
    assert "'not a session' is no session" in caplog.text


async def test_retries(beside: Beside, send: Callable[..., Any]) -> None:
    await worker(beside)
    send("flaky", 2)
    [job] = await beside.until_types(
        *("pending", "running", "retrying", "running", "retrying", "running", "completed")
    )
    assert (job.attempt, job.max_attempts, job.lost, job.error) == (3, 3, 0, None)
    assert job.result == "attempt 3"
    retrying = await beside.first("retrying")
    assert retrying["error"] == {"code": "error", "message": "not yet", "type": "ConnectionError"}
    assert retrying["attempt"] == 2
    assert retrying["run_at"] is not None


async def test_retries_that_run_out(beside: Beside, send: Callable[..., Any]) -> None:
    await worker(beside)
    send("flaky", 9)
    job = await beside.until_status("failed")
    assert job.error is not None
    assert (job.attempt, job.error.type) == (3, "ConnectionError")


async def test_revoked_while_it_waits(
    beside: Beside, app: Celery, send: Callable[..., Any]
) -> None:
    running = await worker(beside)
    send("wait", headers=None)
    await started(beside)
    sent = send("add", 1, 2)
    app.control.revoke(sent.id)
    await running.until_said(f"Tasks flagged as revoked: {sent.id}")
    assert await beside.types() == ["pending"]
    (beside.folder / "go").touch()
    await beside.until_types("pending", "cancelled")


async def test_revoked_while_it_runs(beside: Beside, app: Celery, send: Callable[..., Any]) -> None:
    await worker(beside)
    sent = send("wait")
    await started(beside)
    app.control.revoke(sent.id, terminate=True)
    await beside.until_types("pending", "running", "cancelling", "cancelled")


async def test_cancelled_in_jobcast_while_it_runs(beside: Beside, send: Callable[..., Any]) -> None:
    await worker(beside)
    sent = send("wait")
    [job] = await beside.until_types("pending", "running")
    pid = await started(beside)
    await beside.transitions.cancel(job.id)
    await beside.until_types("pending", "running", "cancelling", "cancelled")
    await wait_until(lambda: not os.path.exists(f"/proc/{pid}"))
    await wait_until(lambda: sent.state == "REVOKED")


async def test_cancelled_in_jobcast_while_it_waits(
    beside: Beside, send: Callable[..., Any]
) -> None:
    sent = send("wait")
    [job] = await beside.until_types("pending")
    assert await beside.transitions.cancel(job.id) == "cancelled"
    await worker(beside)
    await wait_until(lambda: sent.state == "REVOKED")
    assert not [*beside.folder.glob("started-*")]
    # Somebody who queues it once more means it.
    (beside.folder / "go").touch()
    send("wait", task_id=sent.id)
    await beside.until_status("completed")
    assert [job.retry_of for job in await beside.jobs()] == [None, job.id]


async def test_code_that_looks_whether_it_is_cancelled(
    beside: Beside, send: Callable[..., Any]
) -> None:
    await worker(beside, "--pool", "threads", ON_CANCEL_ASK="1")
    send("asks")
    [job] = await beside.until_types("pending", "running")
    await beside.transitions.cancel(job.id)
    await beside.until_types("pending", "running", "cancelling", "cancelled")


async def test_expired_rejected_and_unknown(beside: Beside, send: Callable[..., Any]) -> None:
    running = await worker(beside)
    send("add", 1, 2, expires=-1)
    job = await beside.until_status("failed")
    assert job.error is not None
    assert job.error.code == "expired"
    send("rejects")
    await beside.until(lambda types: types.count("failed") == 2, "failed twice")
    assert "Reject" in str((await beside.jobs())[1].error)
    send("nothing")
    await running.until_said("unregistered task")
    await beside.until(lambda types: types.count("failed") == 3, "failed thrice")
    error = (await beside.jobs())[2].error
    assert error is not None
    assert "no task" in error.message


@pytest.mark.parametrize("task", ["slow", "slower"])
async def test_time_limits(beside: Beside, send: Callable[..., Any], task: str) -> None:
    await worker(beside)
    send(task)
    job = await beside.until_status("failed")
    assert job.error is not None
    assert job.error.code == "timeout"
    assert "TimeLimitExceeded" in (job.error.type or "")


async def test_a_child_that_is_killed(beside: Beside, send: Callable[..., Any]) -> None:
    await worker(beside, LEASE="30")
    send("dies")
    [job] = await beside.until_types("pending", "running", "failed")
    assert job.error is not None
    assert (job.error.code, job.error.type) == ("lost", "WorkerLostError")


async def test_a_child_that_is_killed_and_a_task_that_is_queued_again(
    beside: Beside, send: Callable[..., Any]
) -> None:
    await worker(beside)
    send("dies_once")
    [job] = await beside.until_types("pending", "running", "pending", "running", "completed")
    assert (job.lost, job.attempt, job.result) == (1, 1, "alive")


async def test_a_worker_that_is_killed(beside: Beside, send: Callable[..., Any]) -> None:
    running = await worker(beside)
    send("wait")
    await started(beside)
    await beside.until_types("pending", "running")
    await running.stop(signal.SIGKILL, group=True)
    [job] = await beside.until_types("pending", "running", "failed")
    assert job.error is not None
    assert job.error.code == "lost"


async def test_a_worker_that_is_killed_and_a_broker_that_hands_out_again(
    beside: Beside, send: Callable[..., Any]
) -> None:
    running = await worker(beside)
    send("late")
    await started(beside, "late")
    await beside.until_types("pending", "running")
    await running.stop(signal.SIGKILL, group=True)
    [job] = await beside.until_types("pending", "running", "pending")
    assert job.lost == 1
    (beside.folder / "go").touch()
    await worker(beside)
    [job] = await beside.until_types("pending", "running", "pending", "running", "completed")
    assert job.result == "go"


async def test_jobs_go_on_while_jobcast_is_away(beside: Beside, send: Callable[..., Any]) -> None:
    running = await worker(beside)
    sent = send("wait")
    await beside.until_types("pending", "running")
    beside.jobcast.stop()
    (beside.folder / "go").touch()
    assert await got(sent) == "go"
    other = [send("add", n, n) for n in range(3)]
    assert [await got(each) for each in other] == [0, 2, 4]
    await running.until_said("Jobcast cannot be told of jobs for now")
    beside.jobcast.start()
    await beside.until(lambda types: types.count("completed") == 4, "all told")
    jobs = await beside.jobs()
    assert sorted(str(job.result) for job in jobs) == ["0", "2", "4", "go"]
    assert [job.lost for job in jobs] == [0, 0, 0, 0]
