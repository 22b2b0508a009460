"""The base of all integrations, with a queue that is only this test."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

import worker.integrations as jobcast
from hub.client.direct import plain
from hub.foreign import ForeignJob
from hub.jobs import Job
from hub.settings import Settings
from hub.store import Store
from hub.tick import Ticker
from hub.transitions import Transitions
from tests.conftest import Server
from tests.conftest import wait_until as until_true
from worker.integrations.reporter import Reporter
from worker.integrations.run import Run


@pytest.fixture
async def reporter(settings: Settings) -> AsyncIterator[Reporter]:
    found = Reporter("test", settings)
    yield found
    found.close()


def described(reporter: Reporter, job_id: str = "a", **more: Any) -> ForeignJob:
    job = reporter.describe(job_id, "theirs", "s1", **more)
    assert job is not None
    return job


def started(reporter: Reporter, job_id: str = "a", **more: Any) -> Run:
    run = reporter.start(job_id, described(reporter, job_id), **more)
    assert run is not None
    return run


async def job_of(store: Store, reporter: Reporter, job_id: str = "a") -> Job:
    jobcast_id = reporter.jobcast_id(job_id)
    assert jobcast_id is not None
    found = await store.job(jobcast_id)
    assert found is not None
    return plain(found)


async def types(store: Store) -> list[str]:
    history = await store.history("s1", b"0-0")
    return [e.body.split(b'"type":"job.')[1].split(b'"')[0].decode() for e in history.entries]


async def test_all_that_is_said_arrives_in_order(reporter: Reporter, store: Store) -> None:
    job = described(reporter, args=(1, object()), kwargs={"x": 2}, max_attempts=3)
    reporter.queued("a", job, delay=60)
    run = await reporter.start_async("a", job, worker="host name:1")
    assert run is not None
    with run.as_current():
        jobcast.progress(23, 47, message="counting")
        jobcast.log("one\ntwo")
    jobcast.log("nobody's")
    reporter.retrying(run, ConnectionError("away"), delay=3)
    run = started(reporter, attempt=2, worker="host name:1")
    run.log("three", "stderr")
    run.progress(120)
    reporter.completed(run, {"sum": 3})
    run.log("too late")
    assert await reporter.flush_async()
    assert await types(store) == ["pending", "running", "retrying", "running", "completed"]
    found = await job_of(store, reporter)
    assert (found.attempt, found.max_attempts, found.result) == (2, 3, {"sum": 3})
    assert found.params["x"] == 2
    assert found.params["args"][1].startswith("<object object")
    assert found.worker == "host_name:1"
    assert found.progress is not None
    assert found.progress.percent == 100
    lines = (await store.logs(found.id)).lines
    assert [(line.stream, line.text) for line in lines] == [
        ("stdout", "one"),
        ("stdout", "two"),
        ("stderr", "three"),
    ]


async def test_many_lines_are_told_in_order(reporter: Reporter, store: Store) -> None:
    run = started(reporter)
    for n in range(1_500):
        run.log(n)
    reporter.failed(run, "that is all", kind="Odd", code="permanent")
    assert reporter.flush()
    found = await job_of(store, reporter)
    assert [line.text for line in (await store.logs(found.id, limit=2_000)).lines] == [
        str(n) for n in range(1_500)
    ]
    assert found.error is not None
    assert (found.error.code, found.error.type) == ("permanent", "Odd")


@pytest.mark.parametrize("session", [None, "no session", 7])
async def test_without_a_session_nothing_is_told(
    reporter: Reporter, store: Store, session: Any
) -> None:
    job = reporter.describe("a", "theirs", session)
    assert job is None
    reporter.queued("a", job)
    run = await reporter.start_async("a", job)
    assert run is None
    assert reporter.start("a", job) is None
    reporter.completed(run, 1)
    reporter.retrying(run, "x")
    reporter.released(run)
    reporter.cancelled(run)
    reporter.failed(run, "x")
    assert reporter.flush()
    assert await store.redis.keys("jc:*") == []
    # Who says this does not know the session; nobody will tell of it.
    reporter.ended("a", "failed", "x")
    assert reporter.flush()
    assert (await store.jobs(session_id="s1")).jobs == []


async def test_what_is_not_to_be_shown(settings: Settings, store: Store) -> None:
    reporter = Reporter("test", settings, show_params=False, show_result=False)
    run = reporter.start("a", described(reporter, args=("secret",), kwargs={"key": "secret"}))
    reporter.completed(run, "secret")
    reporter.close()
    found = await job_of(store, Reporter("test", settings))
    assert (found.params, found.result) == ({}, None)


async def test_nothing_of_a_job_can_break_its_telling(reporter: Reporter, store: Store) -> None:
    class Rude(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

        def __repr__(self) -> str:
            raise RuntimeError("nothing")

    run = reporter.start("a", described(reporter, kwargs={"x": Rude()}))
    assert run is not None
    run.progress(float("nan"), message=Rude())
    run.log(Rude())
    reporter.failed(run, Rude())
    run = started(reporter, "b")
    reporter.completed(run, "x" * 2_000_000)
    assert reporter.flush()
    found = await job_of(store, reporter)
    assert found.error is not None
    assert (found.status, found.error.message) == (
        "failed",
        "test_nothing_of_a_job_can_break_its_telling.<locals>.Rude",
    )
    assert (await job_of(store, reporter, "b")).result is None


async def test_a_cancel_is_heard(
    settings: Settings, store: Store, transitions: Transitions
) -> None:
    heard: list[str] = []
    reporter = Reporter("test", settings, lease=0.6, on_cancel=lambda run: heard.append(run.ref))
    run = started(reporter)
    await transitions.cancel(str(reporter.jobcast_id("a")))

    async def requested() -> bool:
        return run.cancel_requested

    await until_true(requested, "the cancel is heard")
    with run.as_current():
        assert jobcast.cancel_requested()
    assert not jobcast.cancel_requested()
    reporter.cancelled(run)
    reporter.close()
    assert heard == ["test:a"]
    assert await types(store) == ["running", "cancelling", "cancelled"]


async def test_a_job_that_was_cancelled_before(
    reporter: Reporter, transitions: Transitions, store: Store
) -> None:
    reporter.queued("a", described(reporter))
    await transitions.cancel(str(reporter.jobcast_id("a")))
    run = started(reporter)
    assert run.cancelled_before
    run.log("ran anyway")
    reporter.failed(run, "skipped")
    assert reporter.flush()
    assert await types(store) == ["pending", "cancelled"]


async def test_a_run_that_was_held_up_goes_on(
    settings: Settings, store: Store, transitions: Transitions
) -> None:
    reporter = Reporter("test", settings, lease=0.6)
    job = described(reporter, redelivers=600)
    run = reporter.start("a", job)
    assert run is not None
    ticker = Ticker(store.redis, transitions._scripts)
    await store.redis.zadd("jc:{p0}:running", {reporter.jobcast_id("a"): 1})
    assert (await ticker.once()).reaped == 1
    run.log("still here")

    async def resumed() -> bool:
        return (await types(store)) == ["running", "pending", "running"]

    await until_true(resumed, "the run goes on")
    reporter.completed(run, 1)
    reporter.close()
    found = await job_of(store, Reporter("test", settings))
    assert (found.status, found.lost, found.result) == ("completed", 1, 1)
    assert [line.text for line in (await store.logs(found.id)).lines] == ["still here"]


async def test_a_run_whose_job_another_process_has_is_silent(
    settings: Settings, store: Store
) -> None:
    first, second = Reporter("test", settings), Reporter("test", settings)
    lost, taken = started(first), started(second)
    lost.log("of the lost")
    first.failed(lost, "of the lost")
    assert first.flush()
    second.completed(taken, 2)
    first.close()
    second.close()
    assert await types(store) == ["running", "pending", "running", "completed"]


async def test_released(reporter: Reporter, store: Store) -> None:
    reporter.released(started(reporter))
    assert reporter.flush()
    found = await job_of(store, reporter)
    assert (found.status, found.released, found.attempt) == ("pending", 1, 1)


async def test_while_jobcast_is_away_nothing_waits_for_it(own_valkey: Server) -> None:
    own_valkey.stop()
    reporter = Reporter("test", Settings(redis_url=own_valkey.url))
    first = started(reporter)
    assert first.answered.is_set()
    for n in range(20):
        run = started(reporter, f"job{n}")
        run.log("a line")
        run.progress(n)
        reporter.completed(run, n)
    assert not reporter.flush(10)
    own_valkey.start()
    reporter.completed(first, "first")

    async def told() -> bool:
        return await asyncio.to_thread(reporter._teller.flush, 1)

    await until_true(told, "all is told")
    found = reporter.jobcast_id("job19")
    reporter.close()
    assert found is not None


async def test_a_child_has_a_voice_of_its_own(reporter: Reporter, store: Store) -> None:
    """As in RQ: the parent holds the job, and a fork runs it."""
    run = started(reporter)
    reporter.flush()
    pid = os.fork()
    if pid == 0:
        run.log("from the child")
        other = reporter.start("b", described(reporter, "b"))
        reporter.completed(other, os.getpid())
        os._exit(0 if reporter.flush() else 1)
    _, status = await asyncio.to_thread(os.waitpid, pid, 0)
    assert status == 0
    assert (await job_of(store, reporter, "b")).result == pid
    assert run.over is False
    reporter.completed(run, "parent")
    reporter.flush()
    found = await job_of(store, reporter)
    assert found.result == "parent"
    assert [line.text for line in (await store.logs(found.id)).lines] == ["from the child"]


async def test_threads_share_it(reporter: Reporter, store: Store) -> None:
    def work(name: str) -> None:
        run = started(reporter, name)
        with run.as_current():
            jobcast.log(f"I am {name}")
        reporter.completed(run, name)

    threads = [threading.Thread(target=work, args=(f"t{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        await asyncio.to_thread(thread.join)
    assert reporter.flush()
    for n in range(8):
        found = await job_of(store, reporter, f"t{n}")
        assert found.result == f"t{n}"
        assert [line.text for line in (await store.logs(found.id)).lines] == [f"I am t{n}"]
