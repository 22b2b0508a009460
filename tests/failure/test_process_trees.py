"""What a command leaves behind ends with its job: daemons, runaways, the deaf and the frozen."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator

import pytest

from tests.liveness import Mark, parent_of, wait_until
from worker.clock import boottime
from worker.processes import CommandNotStarted, Process, Processes, WardenLost

# Two processes that cannot be asked to end.
DEAF = ["sh", "-c", "trap '' TERM HUP INT; sleep 600 & echo up; exec sleep 600"]
# The classic daemon: fork, setsid, fork; its grandparent has gone when it starts to live.
DAEMON = """
import os, signal
if os.fork():
    os._exit(0)
os.setsid()
if os.fork():
    os._exit(0)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.closerange(0, 3)
os.execvp("sleep", ["sleep", "600"])
"""
# It is another process in another session every instant, so a list of pids is always out of date.
RUNAWAY = """
import os
while True:
    if os.fork():
        os._exit(0)
    os.setsid()
"""
# Four at a time, each replaced before it is gone.
SWARM = """
import os
for _ in range(2):
    os.fork()
while True:
    if os.fork():
        os._exit(0)
"""


@pytest.fixture
async def processes() -> AsyncIterator[Processes]:
    async with Processes.local() as local:
        yield local


def python(code: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", code]


async def first_line(process: Process) -> str:
    _, text = await anext(process.lines())
    return text


async def test_term_comes_before_kill(processes: Processes) -> None:
    mark = Mark()
    code = """
import os, signal
signal.signal(signal.SIGTERM, lambda *_: (os.write(1, b"bye\\n"), os._exit(5)))
os.write(1, b"up\\n")
signal.pause()
"""
    process = await processes.start("j", python(code), env=mark.env())
    assert await first_line(process) == "up"

    await processes.end("j", grace=30)

    assert mark.alive() == []
    assert [text async for _, text in process.lines()] == ["bye"]
    assert await process.wait() == 5


async def test_the_deaf_are_killed_after_the_grace(processes: Processes) -> None:
    mark = Mark()
    process = await processes.start("j", DEAF, env=mark.env())
    assert await first_line(process) == "up"
    await mark.until_running("sleep", 2)

    await processes.end("j", grace=0.1)

    assert mark.alive() == []
    assert await process.wait() == -signal.SIGKILL


@pytest.mark.parametrize("grace", [0, 0.1])
async def test_a_daemon_is_its_jobs(processes: Processes, grace: float) -> None:
    mark = Mark()
    process = await processes.start("j", python(DAEMON), env=mark.env())
    assert await process.wait() == 0
    [daemon] = await mark.until_running("sleep", 1)
    assert parent_of(daemon) != os.getpid()

    await processes.end("j", grace)

    assert mark.alive() == []


@pytest.mark.parametrize("code", [RUNAWAY, SWARM], ids=["runaway", "swarm"])
async def test_those_who_flee_are_caught(processes: Processes, code: str) -> None:
    mark = Mark()
    await processes.start("j", python(code), env=mark.env())
    await wait_until(mark.alive)

    await processes.end("j", grace=0)

    assert mark.alive() == []


async def test_a_stopped_process_is_ended_too(processes: Processes) -> None:
    mark = Mark()
    process = await processes.start("j", ["sh", "-c", "kill -STOP $$"], env=mark.env())

    await processes.end("j", grace=30)

    assert mark.alive() == []
    assert await process.wait() == -signal.SIGTERM


async def test_terminate_ends_one_command_of_a_job(processes: Processes) -> None:
    one, two = Mark(), Mark()
    first = await processes.start("j", ["sleep", "600"], env=one.env())
    second = await processes.start("j", ["sleep", "600"], env=two.env())

    assert await first.terminate(grace=30) == -signal.SIGTERM

    assert one.alive() == []
    assert await two.until_running("sleep", 1) == [second.pid]
    await processes.end("j")
    assert two.alive() == []


async def test_jobs_do_not_touch_each_other(processes: Processes) -> None:
    one, two = Mark(), Mark()
    await processes.start("one", python(DAEMON), env=one.env())
    await processes.start("two", python(DAEMON), env=two.env())
    await one.until_running("sleep", 1)
    daemon = await two.until_running("sleep", 1)

    await processes.end("one", grace=0)

    assert one.alive() == []
    assert two.alive() == daemon


async def test_many_commands_at_once(processes: Processes) -> None:
    marks = [Mark() for _ in range(30)]

    async def run(number: int, mark: Mark) -> int:
        job = f"job-{number}"
        code = f"sleep 600 & echo; exit {number}"
        process = await processes.start(job, ["sh", "-c", code], env=mark.env())
        status = await process.wait()
        await processes.end(job, grace=30)
        assert mark.alive() == []
        return status

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(run(n, mark)) for n, mark in enumerate(marks)]

    assert [task.result() for task in tasks] == list(range(30))


async def test_ending_what_is_unknown_or_ended_returns(processes: Processes) -> None:
    await processes.end("never begun")
    processes.begin("j")
    await asyncio.gather(processes.end("j"), processes.end("j"), processes.end("j"))
    await processes.end("j")


async def test_a_shorter_grace_wins(processes: Processes) -> None:
    mark = Mark()
    process = await processes.start("j", DEAF, env=mark.env())
    assert await first_line(process) == "up"

    await asyncio.gather(processes.end("j", grace=600), processes.end("j", grace=0))

    assert mark.alive() == []


async def test_a_job_that_is_ending_starts_nothing(processes: Processes) -> None:
    mark = Mark()
    process = await processes.start("j", DEAF, env=mark.env())
    assert await first_line(process) == "up"
    ending = asyncio.ensure_future(processes.end("j", grace=600))
    await asyncio.wait({ending}, timeout=0)

    with pytest.raises(CommandNotStarted, match="its job is over"):
        await processes.start("j", ["sleep", "600"], env=mark.env())

    await processes.end("j", grace=0)
    await ending
    assert mark.alive() == []


async def test_a_start_that_is_cancelled_leaves_nothing(processes: Processes) -> None:
    mark = Mark()
    starting = asyncio.ensure_future(processes.start("j", ["sleep", "600"], env=mark.env()))
    await asyncio.wait({starting}, timeout=0)
    starting.cancel()

    with pytest.raises(asyncio.CancelledError):
        await starting
    # The answers come in order, so by now the command was started.
    await processes.start("other", ["true"])
    await mark.until_gone()


async def test_at_its_deadline_a_job_is_killed(processes: Processes) -> None:
    mark, other = Mark(), Mark()
    processes.begin("j", boottime() + 600)
    processes.begin("other", boottime() + 600)
    process = await processes.start("j", python(DAEMON), env=mark.env())
    assert await process.wait() == 0
    await mark.until_running("sleep", 1)
    spared = await processes.start("other", ["sleep", "600"], env=other.env())

    processes.valid_until("j", boottime())

    await mark.until_gone()
    assert await other.until_running("sleep", 1) == [spared.pid]
    with pytest.raises(CommandNotStarted, match="its job is over"):
        await processes.start("j", ["sleep", "600"], env=mark.env())
    await processes.end("j")


async def test_a_deadline_can_be_moved(processes: Processes) -> None:
    early, late = Mark(), Mark()
    for job, mark in (("early", early), ("late", late)):
        processes.begin(job, boottime() + 2)
        await processes.start(job, ["sleep", "600"], env=mark.env())

    processes.valid_until("late", boottime() + 600)

    await early.until_gone()
    await late.until_running("sleep", 1)


async def test_a_deadline_of_a_job_that_is_unknown_means_nothing(processes: Processes) -> None:
    mark = Mark()
    processes.valid_until("j", boottime())

    process = await processes.start("j", ["sleep", "600"], env=mark.env())

    assert await mark.until_running("sleep", 1) == [process.pid]


async def test_a_minder_that_is_killed_takes_its_command_along(processes: Processes) -> None:
    mark = Mark()
    process = await processes.start("j", DEAF, env=mark.env())
    other = await processes.start("other", ["sleep", "600"], env=mark.env())
    assert await first_line(process) == "up"

    os.kill(parent_of(process.pid), signal.SIGKILL)

    assert await process.wait() == -signal.SIGKILL
    await processes.end("j", grace=600)
    assert await mark.until_running("sleep", 1) == [other.pid]


async def test_a_minder_is_deaf_to_what_is_meant_for_others(processes: Processes) -> None:
    mark = Mark()
    process = await processes.start("j", DEAF, env=mark.env())
    assert await first_line(process) == "up"
    sleeps = await mark.until_running("sleep", 2)

    # A service manager may signal all of a service; a dead warden's socket brings SIGPIPE.
    for sig in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE):
        os.kill(parent_of(process.pid), sig)

    # Had it died, its command would be dead before the next one has started.
    assert await (await processes.start("other", ["true"])).wait() == 0
    assert mark.alive() == sleeps


async def test_a_minder_that_is_stopped_does_its_work(processes: Processes) -> None:
    mark = Mark()
    process = await processes.start("j", python(DAEMON), env=mark.env())
    [daemon] = await mark.until_running("sleep", 1)
    assert await process.wait() == 0
    os.kill(parent_of(daemon), signal.SIGSTOP)

    await processes.end("j", grace=0)

    assert mark.alive() == []


async def test_when_the_warden_is_killed_all_is_over(processes: Processes) -> None:
    mark = Mark()
    process = await processes.start("j", DEAF, env=mark.env())
    await processes.start("j", python(DAEMON), env=mark.env())
    assert await first_line(process) == "up"
    await mark.until_running("sleep", 3)
    assert processes._child is not None

    processes._child.kill()

    await mark.until_gone()
    with pytest.raises(WardenLost):
        await process.wait()
    with pytest.raises(WardenLost):
        await processes.start("j", ["true"])
    with pytest.raises(WardenLost):
        await processes.end("j")


async def test_closing_kills_what_is_left() -> None:
    mark = Mark()
    async with Processes.local() as processes:
        await processes.start("j", python(DAEMON), env=mark.env())
        await mark.until_running("sleep", 1)

    assert mark.alive() == []


async def test_without_subreapers_there_are_groups() -> None:
    mark = Mark()
    async with Processes.local(tree=False) as processes:
        code = "trap '' TERM; sleep 600 & echo up; exit 3"
        process = await processes.start("j", ["sh", "-c", code], env=mark.env())
        assert [text async for _, text in process.lines()] == ["up"]
        assert await process.wait() == 3
        await mark.until_running("sleep", 1)

        await processes.end("j", grace=0.1)

        assert mark.alive() == []
        processes.begin("k", boottime() + 600)
        await processes.start("k", ["sleep", "600"], env=mark.env())
        processes.valid_until("k", boottime())
        await mark.until_gone()
