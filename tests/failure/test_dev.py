"""`jobcast dev` as a person uses it: start, sign in, Ctrl-C, start again, kill."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.conftest import free_port, wait_until
from tests.running_hub import http_client

LINK = re.compile(r"(http://127\.0\.0\.1:\d+)/#code=(\S+)")


class Dev:
    """A running `jobcast dev`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.output: list[str] = []

    async def line(self, pattern: re.Pattern[str]) -> re.Match[str]:
        """The next line that has `pattern` in it."""
        assert self.process.stdout is not None
        async with asyncio.timeout(40):
            while line := (await self.process.stdout.readline()).decode():
                self.output.append(line)
                if match := pattern.search(line):
                    return match
        raise AssertionError(f"never printed {pattern.pattern!r}:\n{''.join(self.output)}")

    async def end(self, number: int) -> int:
        self.process.send_signal(number)
        assert self.process.stdout is not None
        async with asyncio.timeout(40):
            self.output.append((await self.process.stdout.read()).decode())
            return await self.process.wait()


@asynccontextmanager
async def dev(
    data_dir: Path, port: int, *words: str, cwd: Path | None = None
) -> AsyncIterator[Dev]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "worker.cli", "dev"),
        *(words or ("tests.failure.tasks_under_fire",)),
        *("--port", str(port), "--data-dir", str(data_dir)),
        cwd=cwd,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "JOBCAST_TEST_MARK": str(data_dir)},
    )
    try:
        yield Dev(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def left_behind(data_dir: Path) -> list[str]:
    """Every process that was started under this data directory's mark, with its command."""
    mark = f"JOBCAST_TEST_MARK={data_dir}\0".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if mark in (entry / "environ").read_bytes():
                    found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
            except OSError:
                continue
    return found


async def token(link: re.Match[str]) -> tuple[int, dict[str, str]]:
    async with http_client(link[1]) as client:
        answer = await client.post("/tokens", json={"code": link[2]})
        return answer.status_code, answer.json()


async def test_ctrl_c_leaves_nothing_and_the_next_start_finds_the_jobs(tmp_path: Path) -> None:
    data_dir, port = tmp_path / "data", free_port()
    async with dev(data_dir, port) as running:
        link = await running.line(LINK)
        status, signed_in = await token(link)
        assert status == 200
        assert (await token(link))[0] == 401, "a link signs in once"
        assert running.process.stdin is not None
        running.process.stdin.write(b"\n")
        fresh = await running.line(LINK)
        assert (await token(fresh))[0] == 200

        headers = {"Authorization": f"Bearer {signed_in['token']}"}
        async with http_client(link[1], headers) as client:
            body = {"task": "quick", "session_id": "chat:main", "params": {"n": 7}}
            job_id = (await client.post("/jobs", json=body)).json()["job_id"]
            job = (await client.get(f"/jobs/{job_id}?wait=30")).json()
            assert (job["status"], job["result"]) == ("completed", 7)

        async with dev(data_dir, free_port()) as second:
            assert await second.line(re.compile("is in use by another jobcast dev"))
            assert await second.process.wait() == 2

        assert await running.end(signal.SIGINT) == 0
        assert left_behind(data_dir) == []
        assert not (data_dir / "lock").exists()

    async with dev(data_dir, port) as again:
        await again.line(LINK)
        # The token is still good: the secret was kept, and so was the job.
        async with http_client(link[1], headers) as client:
            assert (await client.get(f"/jobs/{job_id}")).json()["result"] == 7
        assert await again.end(signal.SIGTERM) == 0


async def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with dev(tmp_path / "data", port) as refused:
        await refused.line(re.compile(rf"Cannot listen on 127\.0\.0\.1:{port}.*--port {port + 1}"))
        assert await refused.process.wait() == 2
    server.close()
    assert left_behind(tmp_path / "data") == []


@pytest.mark.slow
async def test_a_supervisor_that_is_killed_takes_everything_along(tmp_path: Path) -> None:
    data_dir, port = tmp_path / "data", free_port()
    async with dev(data_dir, port) as running:
        await running.line(LINK)
        await running.end(signal.SIGKILL)

        async def nothing_left() -> bool:
            return left_behind(data_dir) == []

        await wait_until(nothing_left, "the end of all processes", 30)
    async with dev(data_dir, port) as again:
        await again.line(LINK)
        assert await again.end(signal.SIGINT) == 0


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (None, "no module 'mine'"),
        pytest.param(
            "import nothing_there",
            "ModuleNotFoundError: No module named 'nothing_there'",
            marks=pytest.mark.slow,
        ),
        pytest.param("x = 1", "no task in it", marks=pytest.mark.slow),
    ],
    ids=["missing", "broken", "empty"],
)
async def test_tasks_that_cannot_be_served_end_it_with_a_word(
    tmp_path: Path, source: str | None, words: str
) -> None:
    if source is not None:
        (tmp_path / "mine.py").write_text(source)
    async with dev(tmp_path / "data", free_port(), "mine", cwd=tmp_path) as refused:
        await refused.line(re.compile(rf"jobcast dev: The worker did not start: .*{words}"))
        assert await refused.process.wait() == 2
    assert "starting it again" not in "".join(refused.output)
    assert left_behind(tmp_path / "data") == []


@pytest.mark.slow
async def test_with_reload_the_worker_serves_what_the_source_says_now(tmp_path: Path) -> None:
    source = tmp_path / "mine.py"
    task = "from worker import task\n@task\ndef {}() -> int:\n    return 1\n"
    source.write_text("import nothing_there")
    async with dev(tmp_path / "data", free_port(), "mine", "--reload", cwd=tmp_path) as running:
        await running.line(LINK)
        source.write_text(task.format("first"))
        await running.line(re.compile("worker dev-.* serves first"))
        source.write_text(task.format("second_one"))
        await running.line(re.compile("worker dev-.* serves second_one"))
        assert await running.end(signal.SIGINT) == 0
    assert left_behind(tmp_path / "data") == []
