"""A process under supervision."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest

from worker.child import Child


async def test_one_that_is_being_started_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    made: asyncio.Future[asyncio.subprocess.Process] = asyncio.get_running_loop().create_future()
    go_on = asyncio.Event()
    make = asyncio.create_subprocess_exec

    async def slowly(*args: Any, **how: Any) -> asyncio.subprocess.Process:
        process = await make(*args, **how)
        made.set_result(process)
        await go_on.wait()
        return process

    monkeypatch.setattr(asyncio, "create_subprocess_exec", slowly)
    child = Child("sleeper", ["sleep", "600"], dict(os.environ), lambda *_: None)
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        group.create_task(child.run())
        process = await made
        stopping = group.create_task(child.stop(30))
        # It waits for what is being made.
        await asyncio.wait({stopping}, timeout=0.05)
        assert not stopping.done()
        go_on.set()
        await stopping
        assert process.returncode is not None
