"""arq's jobs as Jobcast's jobs, with a real worker.

arq asks for an older Redis client than Jobcast needs, and works with that one: it is installed
without its dependencies, into a folder of its own, as docs/integrations.md says."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.integrations.conftest import ROOT, Beside, Process
from tests.liveness import wait_until
from tests.packaging.conftest import uv

pytestmark = [
    pytest.mark.slow,
    # arq calls what the Redis client advises against.
    pytest.mark.filterwarnings("ignore:Call to .*deprecated:DeprecationWarning"),
]


@pytest.fixture(scope="session")
def arq_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """arq, and nothing else."""
    folder = tmp_path_factory.mktemp("arq")
    uv("pip", "install", "--quiet", "--no-deps", "--target", folder, "arq>=0.28")
    return folder


@pytest.fixture
async def pool(
    beside: Beside, arq_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Any]:
    """The pool of a program that only queues."""
    monkeypatch.syspath_prepend(str(arq_folder))
    from arq import create_pool
    from arq.connections import RedisSettings

    from worker.integrations.arq import install

    found = install(
        await create_pool(RedisSettings.from_dsn(beside.broker.url)),
        beside.settings,
        session_of=lambda name, args, kwargs: kwargs.get("user"),
    )
    yield found
    await found.aclose(close_connection_pool=True)


async def worker(beside: Beside, arq_folder: Path, **env: str) -> Process:
    settings = "tests.integrations.arq_app.WorkerSettings"
    path = f"{ROOT}:{arq_folder}"
    process = await beside.start("-m", "arq", settings, PYTHONPATH=path, **env)
    await wait_until((beside.folder / "on_startup").exists, 30)
    return process


async def enqueue(pool: Any, function: str, *args: Any, **kwargs: Any) -> Any:
    """Queues a job of session s1."""
    job = await pool.enqueue_job(function, *args, jobcast_session="s1", **kwargs)
    assert job is not None
    return job


async def result(job: Any) -> Any:
    """What arq's own client gets for a result; raises its error."""
    return await job.result(timeout=20, poll_delay=0.05)


async def started(beside: Beside) -> None:
    """Wait until the code of `wait` runs."""
    await wait_until((beside.folder / "started").exists)


async def test_success(beside: Beside, pool: Any, arq_folder: Path) -> None:
    sent = await enqueue(pool, "add", 2, 3)
    [job] = await beside.until_types("pending")
    assert (job.task, job.queue, job.params) == ("add", None, {"args": [2, 3]})
    assert job.metadata == {"source": "arq", "id": sent.job_id}
    await worker(beside, arq_folder)
    [job] = await beside.until_types("pending", "running", "completed")
    assert (job.result, job.attempt, job.max_attempts) == (5, 1, 5)
    assert job.progress is not None
    assert (job.progress.percent, job.progress.message) == (25.0, "adding")
    assert await beside.lines(job.id) == ["2 + 3"]
    assert await result(sent) == 5
    # The settings' own hooks are called as well.
    await wait_until((beside.folder / "after_job_end").exists)


async def test_failure_and_who_is_told(beside: Beside, pool: Any, arq_folder: Path) -> None:
    await worker(beside, arq_folder)
    await enqueue(pool, "boom")
    [job] = await beside.until_types("pending", "running", "failed")
    assert job.error is not None
    assert (job.error.code, job.error.type) == ("error", "ValueError")
    assert job.error.message == "it broke"
    assert "in boom" in (job.error.traceback or "")
    # By a function of the arguments; and a job without a session is nobody's.
    assert await result(await pool.enqueue_job("add", 1, 2)) == 3
    assert await result(await pool.enqueue_job("add", 1, 2, user="u:7")) == 3
    [job] = await beside.until_types("pending", "running", "completed", session_id="u:7")
    assert job.params == {"args": [1, 2], "user": "u:7"}
    assert await beside.redis.zcard("jc:{p0}:jobs") == 2


async def test_jobs_that_jobs_queue(beside: Beside, pool: Any, arq_folder: Path) -> None:
    await worker(beside, arq_folder)
    await enqueue(pool, "queues")
    await beside.until_types("pending", "running", "completed")
    await beside.until_types("pending", "running", "completed", session_id="s2")


async def test_an_id_that_is_queued_already(beside: Beside, pool: Any, arq_folder: Path) -> None:
    await enqueue(pool, "add", 1, 2, _job_id="once")
    assert await pool.enqueue_job("add", 3, 4, _job_id="once", jobcast_session="s1") is None
    await worker(beside, arq_folder)
    [job] = await beside.until_types("pending", "running", "completed")
    assert job.result == 3


async def test_retries(beside: Beside, pool: Any, arq_folder: Path) -> None:
    await worker(beside, arq_folder)
    await enqueue(pool, "flaky", 2)
    [job] = await beside.until_types(
        *("pending", "running", "retrying", "running", "retrying", "running", "completed")
    )
    assert (job.attempt, job.max_attempts, job.lost, job.error) == (3, 3, 0, None)
    assert job.result == "attempt 3"
    retrying = await beside.first("retrying")
    assert retrying["error"] == {"code": "error", "message": "not yet", "type": "ConnectionError"}
    assert retrying["attempt"] == 2
    assert retrying["run_at"] is not None


async def test_retries_that_run_out(beside: Beside, pool: Any, arq_folder: Path) -> None:
    await worker(beside, arq_folder)
    sent = await enqueue(pool, "flaky", 9)
    job = await beside.until_status("failed")
    assert job.error is not None
    assert (job.attempt, job.error.message) == (3, "It was tried 3 times.")
    with pytest.raises(Exception, match="max 3 retries exceeded"):
        await result(sent)


@pytest.mark.parametrize("function", ["slow", "forgotten"])
async def test_a_job_that_takes_too_long(
    beside: Beside, pool: Any, arq_folder: Path, function: str
) -> None:
    await worker(beside, arq_folder)
    await enqueue(pool, function, "never")
    [job] = await beside.until_types("pending", "running", "failed")
    assert job.error is not None
    assert (job.error.code, job.error.type) == ("timeout", "TimeoutError")


async def test_aborted_while_it_waits(beside: Beside, pool: Any, arq_folder: Path) -> None:
    sent = await enqueue(pool, "wait", _defer_by=3_600)
    [job] = await beside.until_types("pending")
    assert job.run_at is not None
    await worker(beside, arq_folder)
    assert await sent.abort(timeout=20, poll_delay=0.05)
    await beside.until_types("pending", "cancelled")


async def test_aborted_while_it_runs(beside: Beside, pool: Any, arq_folder: Path) -> None:
    await worker(beside, arq_folder)
    sent = await enqueue(pool, "wait")
    await started(beside)
    assert await sent.abort(timeout=20, poll_delay=0.05)
    await beside.until_types("pending", "running", "cancelling", "cancelled")


async def test_cancelled_in_jobcast_while_it_runs(
    beside: Beside, pool: Any, arq_folder: Path
) -> None:
    await worker(beside, arq_folder)
    sent = await enqueue(pool, "wait")
    [job] = await beside.until_types("pending", "running")
    await started(beside)
    await beside.transitions.cancel(job.id)
    await beside.until_types("pending", "running", "cancelling", "cancelled")
    with pytest.raises(Exception, match="cancelled in Jobcast"):
        await result(sent)


async def test_cancelled_in_jobcast_while_it_waits(
    beside: Beside, pool: Any, arq_folder: Path
) -> None:
    sent = await enqueue(pool, "wait")
    [job] = await beside.until_types("pending")
    assert await beside.transitions.cancel(job.id) == "cancelled"
    await worker(beside, arq_folder)
    with pytest.raises(Exception, match="cancelled in Jobcast"):
        await result(sent)
    assert not (beside.folder / "started").exists()
    assert await beside.types() == ["pending", "cancelled"]


async def test_a_worker_that_is_stopped_gives_jobs_back(
    beside: Beside, pool: Any, arq_folder: Path
) -> None:
    running = await worker(beside, arq_folder)
    await enqueue(pool, "wait")
    await started(beside)
    await beside.until_types("pending", "running")
    await running.stop()
    [job] = await beside.until_types("pending", "running", "pending")
    assert (job.released, job.lost) == (1, 0)
    (beside.folder / "go").touch()
    await worker(beside, arq_folder)
    [job] = await beside.until_types("pending", "running", "pending", "running", "completed")
    assert job.result == "go"


async def test_a_worker_that_is_killed(beside: Beside, pool: Any, arq_folder: Path) -> None:
    running = await worker(beside, arq_folder)
    sent = await enqueue(pool, "wait")
    await started(beside)
    await beside.until_types("pending", "running")
    await running.stop(signal.SIGKILL, group=True)
    [job] = await beside.until_types("pending", "running", "pending")
    assert job.lost == 1
    # arq hands it out again when this key is over, minutes later.
    assert await pool.delete(f"arq:in-progress:{sent.job_id}") == 1
    (beside.folder / "go").touch()
    await worker(beside, arq_folder)
    [job] = await beside.until_types("pending", "running", "pending", "running", "completed")
    assert (job.result, job.lost) == ("go", 1)
    assert await result(sent) == "go"


async def test_cron_jobs(beside: Beside, pool: Any, arq_folder: Path) -> None:
    await worker(beside, arq_folder, CRON="1")
    await beside.until(
        lambda types: types.count("completed") >= 2, "fired twice", session_id="cron"
    )
    jobs = await beside.jobs("cron")
    assert {job.task for job in jobs} == {"cron_every_second"}
    assert [job.retry_of for job in jobs] == [None] * len(jobs)


async def test_jobs_go_on_while_jobcast_is_away(
    beside: Beside, pool: Any, arq_folder: Path
) -> None:
    running = await worker(beside, arq_folder)
    sent = await enqueue(pool, "wait")
    await beside.until_types("pending", "running")
    beside.jobcast.stop()
    (beside.folder / "go").touch()
    assert await result(sent) == "go"
    others = [await enqueue(pool, "add", n, n) for n in range(3)]
    assert [await result(each) for each in others] == [0, 2, 4]
    await running.until_said("Jobcast cannot be told of jobs for now")
    beside.jobcast.start()
    await beside.until(lambda types: types.count("completed") == 4, "all told")
    jobs = await beside.jobs()
    assert sorted(str(job.result) for job in jobs) == ["0", "2", "4", "go"]
    assert [job.lost for job in jobs] == [0, 0, 0, 0]
