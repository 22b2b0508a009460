"""A task's code while it runs: in the event loop, in a thread, or in a process of its own."""

from __future__ import annotations

import asyncio
import ctypes
import random
import threading
from collections.abc import Mapping
from typing import Any, Protocol

from worker.context import Context, SyncContext
from worker.isolation import run_isolated
from worker.link import LocalLink
from worker.outcome import Outcome, completed, raised
from worker.tasks import Task

STOPPED = Outcome(kind="stopped")


class Code(Protocol):
    """`done` has the outcome and never fails. `in_process`: only this process's end is sure to
    end it. `stop(grace)` asks it to end within `grace` seconds; it may be called again."""

    in_process: bool

    @property
    def done(self) -> asyncio.Future[Outcome]: ...

    def stop(self, grace: float) -> None: ...


def start_code(task: Task, params: Mapping[str, Any], link: LocalLink, limit: int) -> Code:
    """Starts a task's code; its result may have `limit` bytes. Needs a running loop."""
    match task.isolate:
        case "loop":
            return LoopCode(task, params, link, limit)
        case "thread":
            return ThreadCode(task, params, link, limit)
        case _:
            return ProcessCode(task, params, link, limit)


class LoopCode:
    """A coroutine function, as an asyncio task."""

    in_process = True

    def __init__(self, task: Task, params: Mapping[str, Any], link: LocalLink, limit: int) -> None:
        self._task = task
        self._link = link
        self._limit = limit
        arguments = task.arguments(Context(link), params)
        self.done: asyncio.Future[Outcome] = asyncio.get_running_loop().create_task(
            self._run(arguments)
        )

    async def _run(self, arguments: dict[str, Any]) -> Outcome:
        try:
            value = await self._task.function(**arguments)
        except asyncio.CancelledError as error:
            if self._link.stopping:
                return STOPPED
            return raised(self._task, self._link.attempt, error, random.random)
        except BaseException as error:  # noqa: BLE001 (sys.exit() in a task ends the task only)
            return raised(self._task, self._link.attempt, error, random.random)
        return completed(self._task, value, self._limit)

    def stop(self, grace: float) -> None:
        self.done.cancel()


class ThreadCode:
    """A plain function, in a thread of its own.

    It finds out from its context that it has to stop. When it has not done so after a third of the
    grace, CancelledError is raised wherever its Python code is; what it waits for in C goes on."""

    in_process = True

    def __init__(self, task: Task, params: Mapping[str, Any], link: LocalLink, limit: int) -> None:
        self._task = task
        self._link = link
        self._limit = limit
        self._loop = asyncio.get_running_loop()
        self._context = SyncContext(Context(link), self._loop)
        self._arguments = task.arguments(self._context, params)  # type: ignore[arg-type]
        self._interrupted = False
        self.done: asyncio.Future[Outcome] = self._loop.create_future()
        self._thread = threading.Thread(
            target=self._run, name=f"{task.name} {link.job_id}", daemon=True
        )
        self._thread.start()

    def _run(self) -> None:
        outcome = STOPPED
        try:
            outcome = self._call()
            self._deliver(outcome)
        except asyncio.CancelledError:
            # It is raised once at most, and may come as late as here.
            self._deliver(outcome)

    def _call(self) -> Outcome:
        try:
            value = self._task.function(**self._arguments)
        except asyncio.CancelledError as error:
            if self._link.stopping:
                return STOPPED
            return raised(self._task, self._link.attempt, error, random.random)
        except BaseException as error:  # noqa: BLE001 (sys.exit() in a task ends the task only)
            return raised(self._task, self._link.attempt, error, random.random)
        return completed(self._task, value, self._limit)

    def _deliver(self, outcome: Outcome) -> None:
        try:
            self._loop.call_soon_threadsafe(self._set, outcome)
        except RuntimeError:
            # The loop is closed: this worker is over, and nobody asks any more.
            return

    def _set(self, outcome: Outcome) -> None:
        if not self.done.done():
            self.done.set_result(outcome)

    def stop(self, grace: float) -> None:
        self._context.interrupt()
        self._loop.call_later(min(1.0, grace / 3), self._interrupt)

    def _interrupt(self) -> None:
        if not self.done.done() and not self._interrupted and self._thread.ident is not None:
            self._interrupted = True
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(self._thread.ident), ctypes.py_object(asyncio.CancelledError)
            )


class ProcessCode:
    """A function in a Python process of its own, which the warden can kill."""

    in_process = False

    def __init__(self, task: Task, params: Mapping[str, Any], link: LocalLink, limit: int) -> None:
        self._task = task
        self._link = link
        self.done: asyncio.Future[Outcome] = asyncio.get_running_loop().create_task(
            self._run(dict(params), limit)
        )

    async def _run(self, params: dict[str, Any], limit: int) -> Outcome:
        try:
            return await run_isolated(self._task, params, self._link, limit)
        except asyncio.CancelledError:
            return STOPPED
        except Exception as error:  # noqa: BLE001 (it could not be started, or broke off)
            return raised(self._task, self._link.attempt, error, random.random)

    def stop(self, grace: float) -> None:
        # The warden's TERM ends it, and its KILL; until then it may log, and clean up.
        return
