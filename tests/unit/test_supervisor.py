"""Tasks of the hub that fail start again."""

from __future__ import annotations

import asyncio

import pytest

from hub import supervisor
from hub.supervisor import keep_running


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "FIRST_PAUSE", 0.001)


async def test_what_fails_starts_again_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    runs = 0

    async def fails_twice() -> None:
        nonlocal runs
        runs += 1
        if runs < 3:
            raise ValueError(f"the cause, {runs}")

    async with asyncio.timeout(60):
        await keep_running("a task", fails_twice)
    assert runs == 3
    assert caplog.text.count("a task failed") == 2
    assert "the cause, 2" in caplog.text


async def test_a_cancelled_one_ends() -> None:
    started = asyncio.Event()

    async def for_ever() -> None:
        started.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(keep_running("a task", for_ever))
    async with asyncio.timeout(60):
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_one_that_is_cancelled_while_it_pauses_ends(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(supervisor, "FIRST_PAUSE", 600)
    failed = asyncio.Event()

    async def fails() -> None:
        failed.set()
        raise ValueError

    task = asyncio.create_task(keep_running("a task", fails))
    async with asyncio.timeout(60):
        await failed.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_one_that_fails_when_it_is_cancelled_ends() -> None:
    started = asyncio.Event()

    async def fails_at_the_end() -> None:
        try:
            started.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise ValueError from None

    async def run() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(fails_at_the_end())

    task = asyncio.create_task(keep_running("a task", run))
    async with asyncio.timeout(60):
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_one_whose_group_fails_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "FIRST_PAUSE", 0)
    ran: list[int] = []

    async def fails() -> None:
        raise ValueError

    async def run() -> None:
        ran.append(1)
        if len(ran) < 3:
            # It cancels the task that waits for it, and is not done when that waits already.
            async with asyncio.TaskGroup() as group:
                group.create_task(fails())

    async with asyncio.timeout(60):
        await supervisor.keep_running("a task", run)
    assert len(ran) == 3
