"""The warden and its worker: either may be killed, stopped or told to stop at any moment."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.liveness import Mark, parent_of, wait_until
from worker.proctree import read_proc
from worker.warden import launcher

WORKER = str(Path(__file__).with_name("warden_worker.py"))


class Warden:
    """A warden process with a worker that takes orders."""

    def __init__(self, fifo: Path) -> None:
        self.mark = Mark()
        self.worker = 0
        self._fifo = fifo
        os.mkfifo(fifo)

    async def launch(self, lease: float = 600) -> None:
        env = json.dumps(self.mark.env())
        self.process = await asyncio.create_subprocess_exec(
            *launcher("--", sys.executable, WORKER, str(self._fifo), str(lease), env),
            stdout=asyncio.subprocess.PIPE,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(Path.cwd())},
        )
        await self.until_worker()

    async def until_worker(self) -> None:
        """Wait for a worker to say who it is."""
        word, pid, *_ = await self.hear()
        assert word == "worker"
        self.worker = int(pid)

    async def hear(self) -> list[str]:
        """The next line of the worker."""
        assert self.process.stdout is not None
        async with asyncio.timeout(60):
            return (await self.process.stdout.readline()).decode().split()

    async def order(self, *words: str) -> None:
        """Give an order, without waiting for it to be done."""
        await asyncio.to_thread(self._fifo.write_text, " ".join(words))

    async def do(self, *words: str) -> None:
        """Give an order, and wait until it is done."""
        await self.order(*words)
        assert await self.hear() == ["done", *words]

    async def exit_status(self) -> int:
        async with asyncio.timeout(60):
            return await self.process.wait()

    def kill_worker(self, sig: signal.Signals) -> None:
        os.kill(self.worker, sig)

    async def close(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
            await self.process.wait()
        assert self.process.stdout is not None
        async with asyncio.timeout(60):
            # It ends when the worker and its own children are gone, which hold the pipe.
            await self.process.stdout.read()
        await self.mark.until_gone()


def read_environ(pid: int) -> str:
    return Path(f"/proc/{pid}/environ").read_text()


def read_status(pid: int) -> str:
    return Path(f"/proc/{pid}/status").read_text()


@pytest.fixture
async def warden(tmp_path: Path) -> AsyncIterator[Warden]:
    warden = Warden(tmp_path / "orders")
    yield warden
    await warden.close()


async def with_children(warden: Warden, lease: float = 600) -> None:
    """Launch it with a daemon, a command, and a child of the worker itself."""
    await warden.launch(lease)
    await warden.do("ready")
    await warden.do("start")
    await warden.do("own")
    await warden.mark.until_running("sleep", 3)


async def test_the_worker_keeps_the_wardens_socket_to_itself(warden: Warden) -> None:
    await warden.launch()

    # It named no JOBCAST_ variable in its greeting, or `until_worker` would have more words.
    assert "JOBCAST_WARDEN_FD" in read_environ(warden.worker)
    await warden.do("own")
    [child] = await warden.mark.until_running("sleep", 1)
    assert sorted(os.listdir(f"/proc/{child}/fd")) == ["0", "1", "2"]


@pytest.mark.parametrize("sig", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
async def test_a_killed_worker_takes_its_tree_along_and_comes_back(
    warden: Warden, sig: signal.Signals
) -> None:
    await with_children(warden)
    first = warden.worker
    if sig == signal.SIGTERM:
        await warden.order("exit", "1")
    else:
        warden.kill_worker(sig)

    await warden.until_worker()

    assert warden.mark.alive() == []
    assert warden.worker != first
    assert parent_of(parent_of(warden.worker)) == warden.process.pid
    # And the new one is served like the first.
    await warden.do("start")
    await warden.mark.until_running("sleep", 2)


async def test_a_stopped_worker_loses_its_children_at_the_deadline(warden: Warden) -> None:
    await with_children(warden, lease=4)
    warden.kill_worker(signal.SIGSTOP)

    await warden.mark.until_gone()

    assert "(stopped)" in read_status(warden.worker)
    warden.kill_worker(signal.SIGCONT)
    await warden.do("ready")


@pytest.mark.slow
async def test_a_blocked_worker_loses_its_children_at_the_deadline(warden: Warden) -> None:
    await with_children(warden, lease=4)
    await warden.order("block")
    assert await warden.hear() == ["blocked"]

    await warden.mark.until_gone()

    assert read_proc(warden.worker) is not None


@pytest.mark.parametrize("blocked", [False, True])
async def test_a_killed_warden_takes_everything_along(warden: Warden, blocked: bool) -> None:
    await warden.launch()
    await warden.do("start")
    await warden.do("own")
    await warden.mark.until_running("sleep", 3)
    if blocked:
        await warden.order("block")
        assert await warden.hear() == ["blocked"]

    warden.process.kill()

    await warden.mark.until_gone()
    await wait_until(lambda: (proc := read_proc(warden.worker)) is None or not proc.alive)


@pytest.mark.slow
async def test_a_stopped_warden_cannot_save_a_job(warden: Warden) -> None:
    await warden.launch(lease=4)
    await warden.do("start")
    await warden.mark.until_running("sleep", 2)
    warden.process.send_signal(signal.SIGSTOP)

    await warden.mark.until_gone()

    warden.process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
async def test_signals_are_forwarded_once_each(warden: Warden, sig: signal.Signals) -> None:
    await warden.launch()
    for _ in range(2):
        warden.process.send_signal(sig)
        assert await warden.hear() == ["signal", sig.name]

    await warden.order("exit", "7")

    assert await warden.exit_status() == 7


async def test_a_third_signal_kills(warden: Warden) -> None:
    await with_children(warden)
    for _ in range(2):
        warden.process.send_signal(signal.SIGTERM)
        assert await warden.hear() == ["signal", "SIGTERM"]
    warden.process.send_signal(signal.SIGTERM)

    assert await warden.exit_status() == 128 + signal.SIGKILL
    assert warden.mark.alive() == []


async def test_the_worker_is_out_of_the_terminals_reach(warden: Warden) -> None:
    await warden.launch()

    assert os.getsid(warden.worker) == warden.worker


async def test_a_killed_minder_of_the_worker_is_a_killed_worker(warden: Warden) -> None:
    await with_children(warden)

    os.kill(parent_of(warden.worker), signal.SIGKILL)
    await warden.until_worker()

    assert warden.mark.alive() == []


@pytest.mark.parametrize("ready", [False, True])
async def test_a_worker_that_ends_well_is_let_go(warden: Warden, ready: bool) -> None:
    await warden.launch()
    await warden.do("start")
    if ready:
        await warden.do("ready")

    await warden.order("exit", "0")

    assert await warden.exit_status() == 0
    assert warden.mark.alive() == []


async def test_a_worker_that_fails_to_start_is_not_started_again(warden: Warden) -> None:
    await warden.launch()

    await warden.order("exit", "3")

    assert await warden.exit_status() == 3


async def test_a_stop_is_heard_between_two_workers(warden: Warden) -> None:
    await warden.launch()
    for _ in range(3):
        warden.kill_worker(signal.SIGKILL)
        await warden.until_worker()
    warden.kill_worker(signal.SIGKILL)
    await wait_until(lambda: read_proc(warden.worker) is None)
    # The fourth time, the pause before the next start is 0.8 s.
    warden.process.terminate()

    assert await warden.exit_status() == 0


async def test_a_program_that_is_not_there() -> None:
    process = await asyncio.create_subprocess_exec(
        *launcher("--", "no-such-worker"), stderr=asyncio.subprocess.PIPE
    )
    _, errors = await process.communicate()

    assert process.returncode == 127
    assert b"cannot start the worker: No such file or directory" in errors


async def test_wrong_usage_is_told() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "worker.warden", stderr=asyncio.subprocess.PIPE
    )
    _, errors = await process.communicate()

    assert process.returncode == 2
    assert b"usage" in errors
