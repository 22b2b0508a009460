"""Who is alive: processes found by a mark in their environment, and waiting for conditions."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Callable
from pathlib import Path

from worker.proctree import read_proc

VARIABLE = "LIVENESS_MARK"


class Mark:
    """A unique mark that processes inherit through their environment, whatever else they change."""

    def __init__(self) -> None:
        self.text = uuid.uuid4().hex

    def env(self, **extra: str) -> dict[str, str]:
        """An environment for a command that carries the mark."""
        return {"PATH": os.environ["PATH"], VARIABLE: self.text, **extra}

    def alive(self) -> list[int]:
        """The pids of the marked processes that live; zombies do not."""
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            try:
                marked = self.text.encode() in path.read_bytes()
            except OSError:
                continue
            proc = read_proc(int(path.parent.name)) if marked else None
            if proc is not None and proc.alive:
                found.append(proc.pid)
        return sorted(found)

    async def until_running(self, program: str, count: int) -> list[int]:
        """Wait until that many marked processes live and all run `program`; return their pids."""
        await wait_until(lambda: [name_of(pid) for pid in self.alive()] == [program] * count)
        return self.alive()

    async def until_gone(self, seconds: float = 60) -> None:
        """Wait until no marked process lives."""
        await wait_until(lambda: not self.alive(), seconds)


async def wait_until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Wait until `condition()` is true, looking often; raises TimeoutError after `seconds`."""
    never = asyncio.get_running_loop().create_future()
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.wait({never}, timeout=0.01)


def name_of(pid: int) -> str:
    """The name of what a process runs; "" when it has ended."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def parent_of(pid: int) -> int:
    """The pid of a living process's parent."""
    proc = read_proc(pid)
    assert proc is not None
    return proc.parent
