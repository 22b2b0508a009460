"""The command `jobcast hub` as a process of its own."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.conftest import API_KEY, SECRET

COMMAND = (sys.executable, "-c", "from hub.cli import app; app(prog_name='jobcast')")
ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+")


def environment(**more: str) -> dict[str, str]:
    """This environment without settings, and `more`."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("JOBCAST_")}
    return {**own, "NO_COLOR": "1", "TERM": "dumb", **more}


async def run(*args: str, **more: str) -> tuple[int, str, str]:
    """The command `jobcast` with these arguments: its status, output and errors."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *args,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(**more),
    )
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


@asynccontextmanager
async def serving(
    redis_url: str, *args: str, **more: str
) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """A hub that has said where it is: the process, which is killed at the end, and its address."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *("hub", "--port", "0", "--redis-url", redis_url, *args),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=environment(JOBCAST_SECRET=SECRET, JOBCAST_API_KEYS=f"test:{API_KEY}", **more),
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            while line := (await process.stdout.readline()).decode():
                if (match := ADDRESS.search(line)) and "hub on" in line:
                    yield process, match[0]
                    return
        raise AssertionError("the hub did not say where it is")
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
