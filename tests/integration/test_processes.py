"""Commands as a task starts them: output, input, exit status, environment, failures to start."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from tests.liveness import Mark, wait_until
from worker.output import MAX_BUFFERED
from worker.processes import CommandNotStarted, Process, Processes, WardenLost


def python(code: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", code]


async def collect(process: Process) -> list[tuple[str, str]]:
    return [line async for line in process.lines()]


async def test_lines_and_exit_status(processes: Processes) -> None:
    process = await processes.start("j", ["sh", "-c", "echo one; echo two >&2; exit 3"])

    lines = await collect(process)

    assert sorted(lines) == [("stderr", "two"), ("stdout", "one")]
    assert await process.wait() == 3
    assert process.returncode == 3


async def test_a_signal_shows_as_a_negative_status(processes: Processes) -> None:
    process = await processes.start("j", ["sh", "-c", "kill -USR1 $$"])

    assert await process.wait() == -signal.SIGUSR1


async def test_merged_stderr_keeps_the_order(processes: Processes) -> None:
    code = "for i in 1 2 3 4 5; do echo out$i; echo err$i >&2; done"
    process = await processes.start("j", ["sh", "-c", code], merge_stderr=True)

    texts = [text for _, text in await collect(process)]

    assert texts == [f"{s}{i}" for i in range(1, 6) for s in ("out", "err")]


async def test_a_last_line_without_a_newline_is_a_line(processes: Processes) -> None:
    process = await processes.start("j", ["printf", "a\\nb"])

    assert [text for _, text in await collect(process)] == ["a", "b"]


async def test_stdin_from_bytes(processes: Processes) -> None:
    data = b"x" * 300_000 + b"\n"
    process = await processes.start("j", ["wc", "-c"], stdin=data)

    assert [text.strip() for _, text in await collect(process)] == [str(len(data))]


async def test_stdin_may_be_a_socket_that_speaks_both_ways(processes: Processes) -> None:
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            code = "import socket; s = socket.socket(fileno=0); s.send(s.recv(9).upper())"
            process = await processes.start("j", python(code), stdin=theirs.fileno())
        ours.send(b"hello")
        assert await process.wait() == 0
        assert ours.recv(9) == b"HELLO"


async def test_without_stdin_there_is_nothing_to_read(processes: Processes) -> None:
    process = await processes.start("j", ["cat"])

    assert await collect(process) == []
    assert await process.wait() == 0


async def test_the_environment_is_exactly_what_was_given(processes: Processes) -> None:
    env = {"PATH": os.environ["PATH"], "ONE": "1", "TWO": "zwei ä"}
    process = await processes.start("j", ["env"], env=env)

    lines = [text for _, text in await collect(process)]

    assert sorted(lines) == sorted(f"{name}={value}" for name, value in env.items())


async def test_a_command_starts_from_a_clean_slate(processes: Processes, tmp_path: Path) -> None:
    code = """
import json, os, re
status = open("/proc/self/status").read()
masks = {k: int(re.search(k + r":\\s*(\\w+)", status)[1], 16) for k in ("SigBlk", "SigIgn")}
fds = [n for n in os.listdir("/proc/self/fd") if os.path.exists("/proc/self/fd/" + n)]
print(json.dumps([masks, sorted(fds), os.getsid(0) == os.getpid(), os.getcwd()]))
"""
    # Python itself ignores SIGPIPE and SIGXFSZ, so a shell has to say what it got.
    shell = "grep -E '^Sig(Blk|Ign)' /proc/self/status; ls /proc/self/fd | tr '\\n' ' '"
    process = await processes.start("j", ["sh", "-c", shell])
    signals = [text for _, text in await collect(process)]
    masks = {name: int(mask, 16) for name, mask in (line.split(":\t") for line in signals[:2])}
    # 32 and 33 are the C library's own: nobody can set them, so what was inherited stays.
    assert {name: mask & ~(3 << 31) for name, mask in masks.items()} == {"SigBlk": 0, "SigIgn": 0}
    # The last one is ls's own, on the directory that it lists.
    assert signals[2:] == ["0 1 2 3 "]

    process = await processes.start("j", python(code), cwd=tmp_path)
    [(_, text)] = await collect(process)
    _, fds, leads_session, cwd = json.loads(text)
    assert fds == ["0", "1", "2"]
    assert leads_session
    assert cwd == str(tmp_path)


@pytest.mark.parametrize(
    ("argv", "cwd", "code", "words"),
    [
        (["no-such-program"], None, errno.ENOENT, "cannot start 'no-such-program': No such file"),
        (["/etc/passwd"], None, errno.EACCES, "Permission denied"),
        (["ls"], "/no/such/place", errno.ENOENT, "cannot enter the directory"),
    ],
)
async def test_what_cannot_start_says_why(
    processes: Processes, argv: list[str], cwd: str | None, code: int, words: str
) -> None:
    with pytest.raises(CommandNotStarted, match=words) as caught:
        await processes.start("j", argv, cwd=cwd)

    assert caught.value.errno == code
    await processes.end("j")


@pytest.mark.parametrize("argv", [[], ["a\0b"], ["echo", "x" * (4 << 20)]])
async def test_arguments_that_no_system_takes(processes: Processes, argv: list[str]) -> None:
    with pytest.raises(ValueError, match=r"empty|NUL|exceed"):
        await processes.start("j", argv)

    # And the channel is none the worse for it.
    assert await (await processes.start("j", ["true"])).wait() == 0


async def test_an_argument_too_long_for_the_system(processes: Processes) -> None:
    with pytest.raises(CommandNotStarted) as caught:
        await processes.start("j", ["echo", "x" * 1_000_000])

    assert caught.value.errno == errno.E2BIG


async def test_output_that_nobody_reads_does_not_block(processes: Processes) -> None:
    process = await processes.start("j", python("for _ in range(20_000): print('x' * 99)"))

    assert await process.wait() == 0


async def test_a_slow_consumer_makes_the_command_wait(processes: Processes) -> None:
    total = 40_000
    process = await processes.start("j", python(f"for i in range({total}): print('line', i)"))
    output = process._output
    await wait_until(lambda: output._paused)
    assert output._size <= MAX_BUFFERED + 16 * 1024
    assert process.returncode is None

    lines = await collect(process)

    assert lines == [("stdout", f"line {i}") for i in range(total)]
    assert await process.wait() == 0


async def test_output_of_a_dead_job_can_still_be_read(processes: Processes) -> None:
    # More than is buffered, and no more than that and what a pipe holds.
    total = 100_000
    process = await processes.start("j", ["sh", "-c", f"yes | head -c {total}; kill -9 $$"])
    await wait_until(lambda: process.returncode is not None)
    await processes.end("j")

    assert await collect(process) == [("stdout", "y")] * (total // 2)


async def test_lines_end_with_the_command_though_a_daemon_holds_the_pipe(
    processes: Processes, tmp_path: Path
) -> None:
    mark, wrote = Mark(), tmp_path / "wrote"
    code = f"""
import os, signal
print("done", flush=True)
if os.fork():
    os._exit(0)
# Much more than a pipe holds.
for _ in range(1000):
    print("noise" * 200, flush=True)
open({str(wrote)!r}, "w").close()
signal.pause()
"""
    process = await processes.start("j", python(code), env=mark.env())

    assert ("stdout", "done") in await collect(process)
    assert await process.wait() == 0
    # It is neither killed by SIGPIPE nor blocked, and lives until its job is over.
    await wait_until(wrote.exists)
    assert len(mark.alive()) == 1
    await processes.end("j", grace=0)
    assert mark.alive() == []


async def test_iterating_again_goes_on(processes: Processes) -> None:
    process = await processes.start("j", ["printf", "1\\n2\\n3\\n"])
    async for _, text in process.lines():
        assert text == "1"
        break

    assert [text for _, text in await collect(process)] == ["2", "3"]


async def test_descriptors_are_given_back(processes: Processes) -> None:
    async def run() -> None:
        await (await processes.start("j", ["sh", "-c", "echo x"])).wait()
        await (await processes.start("j", ["sh", "-c", "echo x"])).terminate(0)
        with pytest.raises(CommandNotStarted):
            await processes.start("j", ["no-such-program"])
        await processes.end("j")

    def count() -> tuple[int, int]:
        warden = processes._child
        assert warden is not None
        return len(os.listdir("/proc/self/fd")), len(os.listdir(f"/proc/{warden.pid}/fd"))

    await run()
    before = count()
    for _ in range(5):
        await run()

    assert count() == before


async def test_a_lost_warden_is_told() -> None:
    ours, theirs = socket.socketpair()
    lost = asyncio.Event()
    async with Processes(ours, on_lost=lost.set) as processes:
        theirs.close()
        async with asyncio.timeout(60):
            await lost.wait()
        with pytest.raises(WardenLost):
            processes.valid_until("j", 0)


def test_without_a_warden_nothing_is_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JOBCAST_WARDEN_FD", raising=False)

    assert Processes.inherited() is None
