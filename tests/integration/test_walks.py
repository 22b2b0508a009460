"""The pages that lead a reader by the hand, walked as they are written: files are saved, commands
are run one after the other, and what they print is what the page says (`…` is anything)."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.conftest import free_port
from tests.liveness import Mark, wait_until
from tests.pages import ROOT, Block, blocks_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

NAMED = re.compile(r"(?:#|//|<!--) ([\w./-]+\.\w+)(?: -->)?\n")
BACKGROUND = "in the background, until: "
AGAIN = "again until it says so"
NOT_RUN = "not run: "
#: Ports that pages name; each walk has its own in their place.
PORTS = ("8080", "9000", "9001")
PATIENCE = 60


class Walk:
    """A directory, and what runs in it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._mark = Mark()
        self._ports = {port: str(free_port()) for port in PORTS}
        self._started: list[asyncio.subprocess.Process] = []
        self._heard: list[asyncio.Task[None]] = []

    async def take(self, block: Block, expected: Block | None) -> None:
        """Does what a block says; `expected` is the text that follows it, if there is one."""
        text = self._here(block.text)
        if named := NAMED.match(text):
            (self._folder / named[1]).write_text(text)
        elif block.language != "sh" or block.note.startswith(NOT_RUN):
            return
        elif block.note.startswith(BACKGROUND):
            await self._start(block, text)
        elif block.note == AGAIN:
            assert expected is not None, block
            await self._until(block, text, expected.text)
        else:
            output = await self._run(block, text)
            if expected is not None:
                assert says(output, self._here(expected.text)), f"{block} printed:\n{output}"

    async def _until(self, block: Block, script: str, expected: str) -> None:
        output = ""
        try:
            async with asyncio.timeout(PATIENCE):
                while not says(output := await self._run(block, script), expected):
                    pass
        except TimeoutError:
            raise AssertionError(f"{block} still prints:\n{output}") from None

    async def end(self) -> None:
        """Ends what was started, the last first, as Ctrl-C does."""
        for process in reversed(self._started):
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGINT)
            async with asyncio.timeout(PATIENCE):
                await process.wait()
        for task in self._heard:
            await task
        await self._mark.until_gone()

    async def _run(self, block: Block, script: str) -> str:
        process = await self._spawn(script, stderr=asyncio.subprocess.PIPE)
        async with asyncio.timeout(PATIENCE):
            out, err = await process.communicate()
        assert process.returncode == 0, f"{block}: {err.decode()}{out.decode()}"
        return out.decode()

    async def _start(self, block: Block, script: str) -> None:
        process = await self._spawn(script, stderr=asyncio.subprocess.STDOUT)
        self._started.append(process)
        lines: list[str] = []
        stdout = process.stdout
        assert stdout is not None

        async def hear() -> None:
            while line := await stdout.readline():
                lines.append(line.decode())

        self._heard.append(asyncio.create_task(hear()))
        wanted = block.note.removeprefix(BACKGROUND)
        await wait_until(
            lambda: process.returncode is not None or any(wanted in line for line in lines),
            PATIENCE,
        )
        assert process.returncode is None, f"{block}: {''.join(lines)}"

    async def _spawn(self, script: str, stderr: int) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *("bash", "-e", "-o", "pipefail", "-c", script),
            cwd=self._folder,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
            start_new_session=True,
            env=self._mark.env(
                PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                HOME=str(self._folder),
                LANG="C.UTF-8",
            ),
        )

    def _here(self, text: str) -> str:
        for port, ours in self._ports.items():
            text = re.sub(rf"\b{port}\b", ours, text)
        return text


def says(output: str, expected: str) -> bool:
    """Whether output is what a page shows: `…` is anything, and space at ends of lines is none."""
    pattern = ".*".join(map(re.escape, re.sub(r" +$", "", expected, flags=re.M).split("…")))
    shown = re.sub(r" +$", "", output, flags=re.M)
    return re.fullmatch(pattern, shown, re.DOTALL) is not None


@asynccontextmanager
async def walk(folder: Path) -> AsyncIterator[Walk]:
    found = Walk(folder)
    try:
        yield found
    finally:
        await found.end()


@pytest.mark.parametrize("page", ["README.md", "docs/tutorial.md"])
async def test_the_page_is_true(page: str, tmp_path: Path) -> None:
    blocks = blocks_of(ROOT / page)
    async with walk(tmp_path) as here:
        for block, following in zip(blocks, [*blocks[1:], None], strict=True):
            if block.language != "text":
                text = following if following and following.language == "text" else None
                await here.take(block, text)


async def test_what_the_tutorial_says_in_the_page_is_understood(tmp_path: Path) -> None:
    page = ROOT / "docs" / "tutorial.md"
    blocks = blocks_of(page)
    words = re.search("Say “(.+?)”", page.read_text("utf-8"))
    assert words
    async with walk(tmp_path) as here:
        for block in blocks[: [b.note.startswith(BACKGROUND) for b in blocks].index(True) + 1]:
            await here.take(block, None)
        key = (tmp_path / ".jobcast" / "api-key").read_text()
        async with httpx2.AsyncClient(
            base_url=(tmp_path / ".jobcast" / "url").read_text().strip(),
            headers={"Authorization": f"Bearer {key}"},
            timeout=PATIENCE,
        ) as client:

            async def say(text: str) -> None:
                answer = await client.post("/sessions/chat:main/messages", json={"text": text})
                assert answer.status_code == 202, answer.text

            await say(words[1])
            jobs: list[dict[str, Any]] = []
            async with asyncio.timeout(PATIENCE):
                while not jobs:
                    answer = await client.get("/jobs", params={"session_id": "chat:main"})
                    jobs = answer.json()["jobs"]
            path = f"/jobs/{jobs[0]['id']}"
            assert jobs[0]["params"] == {"version": "1.4.0"}
            asking = (await client.get(path, params={"wait": 30})).json()
            assert asking["input"]["prompt"] == "Publish 1.4.0?"
            await say("yes")
            async with asyncio.timeout(PATIENCE):
                while (job := (await client.get(path, params={"wait": 5})).json())["input"]:
                    pass
            if job["status"] != "completed":
                job = (await client.get(path, params={"wait": 30})).json()
            assert job["status"] == "completed"


def test_output_that_differs_is_found() -> None:
    assert says("a  \nbcd\n", "a\nb…\n")
    assert not says("a\nb\n", "a\n")
    assert not says("a\n", "a\nb\n")
