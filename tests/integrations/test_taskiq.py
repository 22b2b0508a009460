"""taskiq's tasks as Jobcast's jobs, with a real worker."""

from __future__ import annotations

import asyncio
import pickle
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from taskiq import (
    AsyncTaskiqTask,
    Context,
    InMemoryBroker,
    SimpleRetryMiddleware,
    TaskiqDepends,
    TaskiqMessage,
    TaskiqMiddleware,
    TaskiqResult,
)
from taskiq.exceptions import NoResultError
from taskiq.kicker import AsyncKicker
from taskiq_redis import ListQueueBroker, RedisAsyncResultBackend, RedisStreamBroker

from tests.integrations.conftest import Beside, Process
from tests.liveness import wait_until
from worker.integrations.taskiq import _InThread, install

pytestmark = pytest.mark.slow

Send = Callable[..., Awaitable[AsyncTaskiqTask[Any]]]


@pytest.fixture(params=["list", "stream"])
def kind(request: pytest.FixtureRequest) -> str:
    """Which of the brokers: one that forgets what it handed out, or one that waits for acks."""
    found: str = request.param
    return found


@pytest.fixture
async def send(beside: Beside, kind: str) -> AsyncIterator[Send]:
    """Queues a task of session s1 from a program that only queues."""
    url = beside.broker.url
    base = ListQueueBroker(url) if kind == "list" else RedisStreamBroker(url, consumer_id="0")
    broker = base.with_result_backend(RedisAsyncResultBackend(url))
    installed = install(broker, beside.settings)
    await broker.startup()

    async def send(name: str, *args: Any, session: str | None = "s1", **labels: Any) -> Any:
        if session is not None:
            labels["jobcast_session"] = session
        sent = await AsyncKicker[Any, Any](name, broker, labels).kiq(*args)
        await installed.reporter.flush_async()
        return sent

    yield send
    await broker.shutdown()


async def worker(beside: Beside, kind: str = "list") -> Process:
    env = {} if kind == "list" else {"STREAM": "1"}
    app = "tests.integrations.taskiq_app:broker"
    process = await beside.start("-m", "taskiq", "worker", app, "--workers", "1", **env)
    await process.until_said("Listening started.")
    return process


async def result(sent: AsyncTaskiqTask[Any]) -> Any:
    """What a task's own client gets for a result; raises its error."""
    found = await sent.wait_result(check_interval=0.05, timeout=20)
    return found.raise_for_error().return_value


async def test_success(beside: Beside, send: Send, kind: str) -> None:
    sent = await send("add", 2, 3)
    [job] = await beside.until_types("pending")
    assert (job.task, job.queue, job.params) == ("add", None, {"args": [2, 3]})
    assert job.metadata == {"source": "taskiq", "id": sent.task_id}
    await worker(beside, kind)
    [job] = await beside.until_types("pending", "running", "completed")
    assert (job.result, job.attempt, job.max_attempts) == (5, 1, 1)
    assert job.progress is not None
    assert (job.progress.percent, job.progress.message) == (25.0, "adding")
    assert await beside.lines(job.id) == ["2 + 3"]
    assert await result(sent) == 5


@pytest.mark.parametrize("kind", ["list"], indirect=True)
class TestAList:
    """What does not depend on the broker."""

    async def test_failure_and_who_is_told(self, beside: Beside, send: Send) -> None:
        await worker(beside)
        await send("boom")
        [job] = await beside.until_types("pending", "running", "failed")
        assert job.error is not None
        assert (job.error.code, job.error.type) == ("error", "ValueError")
        assert job.error.message == "it broke"
        assert "in boom" in (job.error.traceback or "")
        # By a function of the arguments; and a task without a session is nobody's.
        assert await result(await send("add", 1, 2, session=None)) == 3
        assert await beside.redis.zcard("jc:{p0}:jobs") == 1

    async def test_retries(self, beside: Beside, send: Send) -> None:
        await worker(beside)
        sent = await send("flaky", 2, retry_on_error=True, max_retries=3)
        [job] = await beside.until_types(
            *("pending", "running", "retrying", "running", "retrying", "running", "completed")
        )
        assert (job.attempt, job.max_attempts, job.lost, job.error) == (3, 3, 0, None)
        assert job.result == "attempt 3" == await result(sent)

    async def test_retries_that_run_out(self, beside: Beside, send: Send) -> None:
        await worker(beside)
        await send("flaky", 9, retry_on_error=True, max_retries=3)
        job = await beside.until_status("failed")
        assert job.error is not None
        assert (job.attempt, job.error.type) == (3, "ConnectionError")

    async def test_a_task_that_takes_too_long(self, beside: Beside, send: Send) -> None:
        await worker(beside)
        await send("wait", "never", timeout=0.5)
        [job] = await beside.until_types("pending", "running", "failed")
        assert job.error is not None
        assert (job.error.code, job.error.type) == ("timeout", "TimeoutError")

    async def test_what_is_requeued_and_what_has_no_result(
        self, beside: Beside, send: Send
    ) -> None:
        await worker(beside)
        await send("nothing")
        await beside.until_types("pending", "running", "completed")
        await send("requeues")
        job = await beside.until_status("completed")
        await beside.until(lambda types: types.count("running") == 3, "run again")
        job = await beside.until_status("completed")
        assert job.result == "the second time"

    async def test_cancelled_in_jobcast_while_it_runs(self, beside: Beside, send: Send) -> None:
        await worker(beside)
        sent = await send("wait")
        [job] = await beside.until_types("pending", "running")
        await wait_until((beside.folder / "started").exists)
        await beside.transitions.cancel(job.id)
        await beside.until_types("pending", "running", "cancelling", "cancelled")
        with pytest.raises(Exception, match="cancelled in Jobcast"):
            await result(sent)

    @pytest.mark.parametrize("name", ["wait", "in_a_thread"])
    async def test_cancelled_in_jobcast_while_it_waits(
        self, beside: Beside, send: Send, name: str
    ) -> None:
        sent = await send(name)
        [job] = await beside.until_types("pending")
        assert await beside.transitions.cancel(job.id) == "cancelled"
        await worker(beside)
        with pytest.raises(Exception, match="cancelled in Jobcast"):
            await result(sent)
        assert not (beside.folder / "started").exists()
        await send("add", 1, 2)
        await beside.until_types("pending", "cancelled", "pending", "running", "completed")

    async def test_a_function_in_a_thread(self, beside: Beside, send: Send) -> None:
        await worker(beside)
        await send("in_a_thread")
        [job] = await beside.until_types("pending", "running")
        await beside.transitions.cancel(job.id)
        [job] = await beside.until_types("pending", "running", "cancelling", "completed")
        assert job.progress is not None
        assert (job.progress.percent, job.progress.message) == (75.0, "in a thread")
        assert job.result == "asked to stop"

    async def test_a_worker_that_is_killed(self, beside: Beside, send: Send) -> None:
        running = await worker(beside)
        await send("wait")
        await wait_until((beside.folder / "started").exists)
        await beside.until_types("pending", "running")
        await running.stop(signal.SIGKILL, group=True)
        [job] = await beside.until_types("pending", "running", "failed")
        assert job.error is not None
        assert job.error.code == "lost"

    async def test_jobs_go_on_while_jobcast_is_away(self, beside: Beside, send: Send) -> None:
        running = await worker(beside)
        sent = await send("wait")
        await beside.until_types("pending", "running")
        beside.jobcast.stop()
        (beside.folder / "go").touch()
        assert await result(sent) == "go"
        others = [await send("add", n, n) for n in range(3)]
        assert [await result(each) for each in others] == [0, 2, 4]
        await running.until_said("Jobcast cannot be told of jobs for now")
        beside.jobcast.start()
        await beside.until(lambda types: types.count("completed") == 4, "all told")
        jobs = await beside.jobs()
        assert sorted(str(job.result) for job in jobs) == ["0", "2", "4", "go"]
        assert [job.lost for job in jobs] == [0, 0, 0, 0]


@pytest.mark.parametrize("kind", ["stream"], indirect=True)
async def test_a_worker_that_is_killed_and_a_stream_that_hands_out_again(
    beside: Beside, send: Send
) -> None:
    running = await worker(beside, "stream")
    sent = await send("wait")
    await wait_until((beside.folder / "started").exists)
    await beside.until_types("pending", "running")
    await running.stop(signal.SIGKILL, group=True)
    [job] = await beside.until_types("pending", "running", "pending")
    assert job.lost == 1
    (beside.folder / "go").touch()
    await worker(beside, "stream")
    # taskiq looks for what others have left behind when it has found something new.
    assert await result(await send("add", 1, 2, session=None)) == 3
    [job] = await beside.until_types("pending", "running", "pending", "running", "completed")
    assert (job.result, job.attempt) == ("go", 1)
    assert await result(sent) == "go"


async def test_an_attempt_that_begins_before_the_end_of_the_last_was_told(
    beside: Beside,
) -> None:
    begun, noted = asyncio.Event(), asyncio.Event()

    class Late(TaskiqMiddleware):
        """Comes before Jobcast where a task ends."""

        async def post_execute(self, message: TaskiqMessage, result: TaskiqResult[Any]) -> None:
            if isinstance(result.error, NoResultError):
                await begun.wait()
                noted.set()

    broker = InMemoryBroker().with_middlewares(SimpleRetryMiddleware())
    installed = install(broker, beside.settings)
    broker.add_middlewares(Late())

    @broker.task(task_name="flaky", retry_on_error=True, jobcast_session="s1")
    async def flaky(ctx: Context = TaskiqDepends()) -> str:  # noqa: B008 (as taskiq wants it)
        if "_retries" not in ctx.message.labels:
            raise ConnectionError("not yet")
        begun.set()
        await noted.wait()
        return "the second time"

    await flaky.kiq()
    [job] = await beside.until_types("pending", "running", "retrying", "running", "completed")
    assert (job.result, job.attempt, job.lost) == ("the second time", 2, 0)
    await broker.shutdown()
    installed.reporter.close()


def plain() -> str:
    """A function as a process pool gets it."""
    return "ran"


def test_a_function_may_go_to_another_process() -> None:
    guarded = _InThread(plain)
    assert guarded() == "ran"
    assert pickle.loads(pickle.dumps(guarded)) is plain
