"""An example as its reader runs it: a process, and what it prints."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.hub_process import environment

EXAMPLES = Path(__file__).parents[1] / "examples"


class Example:
    """`lines` is what it has printed so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[str] = []

    async def says(self, words: str) -> str:
        """The next line that has these words; fails with what it printed when none comes."""
        assert self.process.stdout is not None
        try:
            async with asyncio.timeout(30):
                while line := (await self.process.stdout.readline()).decode():
                    self.lines.append(line.rstrip("\n"))
                    if words in line:
                        return self.lines[-1]
        except TimeoutError:
            pass
        raise AssertionError(f"it never said {words!r}, but:\n" + "\n".join(self.lines))

    async def ends(self) -> int:
        """Its exit status, once it has ended by itself."""
        async with asyncio.timeout(30):
            rest, _ = await self.process.communicate()
        self.lines += rest.decode().splitlines()
        assert self.process.returncode is not None
        return self.process.returncode


@asynccontextmanager
async def running_example(name: str, *args: str, **env: str) -> AsyncIterator[Example]:
    """Runs `examples/name` until the end of the block."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(EXAMPLES / name), *args),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=environment(PYTHONUNBUFFERED="1", PYTHONPATH=str(EXAMPLES.parent), **env),
    )
    try:
        yield Example(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
