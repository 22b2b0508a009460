"""`isolate="process"`: the worker's end of a task that runs in a Python process of its own.

The process is a command like any other to the warden, so it can be killed with all that it starts;
what it prints goes to the job's log. Its standard input is one end of a socket pair over which it
says what its code wants from the job, one JSON object a line:

| process → worker | means |
|---|---|
| `{"id", "op", "args"}` | call the JobLink's method `op`; bytes are text in `args` and in `ok` |
| `{"op": "outcome", "outcome"}` | the code has ended |

| worker → process | means |
|---|---|
| the first line | what to run: see `Order` |
| `{"id", "ok"}`, or `{"id", "error", "message", "errno"}` | what came of a call |

That the job has to stop is told by TERM.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from worker.environment import FORBIDDEN_PREFIX
from worker.link import LocalLink
from worker.outcome import Outcome
from worker.process import CommandNotStarted, Process
from worker.tasks import Task, TaskError

#: Calls of one process that are under way at once; it is not read while there are more.
MAX_CALLS: Final = 64
LINE_BYTES: Final = 16 * 1024 * 1024
#: Seconds that a process has to end by itself after its code did.
EXIT_SECONDS: Final = 2.0

OPS: Final = frozenset(
    {
        "progress",
        "write",
        "ask",
        "enqueue",
        "gather",
        "recall",
        "keep",
        "start",
        "lines",
        "returncode",
        "stop",
    }
)


class Order(Struct):
    """What a process has to run. `path` is the import path; `name` is the task's, `qualname` its
    function's."""

    path: list[str]
    module: str
    qualname: str
    name: str
    params: Raw
    job_id: str
    session_id: str
    attempt: int
    value_bytes: int
    result_bytes: int


class Call(Struct):
    """One message of the process."""

    op: str
    id: int = 0
    args: list[Any] = []
    outcome: Outcome | None = None


class ProcessDied(Exception):
    """The process of a task ended before its code did."""


def check_isolated(task: Task) -> None:
    """Raises TaskError when another process could not find the task's function."""
    qualname = getattr(task.function, "__qualname__", "<none>")
    if "<" in qualname:
        raise TaskError(
            f"task {task.name}: isolate='process' needs a function at the top of a module, "
            f"not {qualname}"
        )


async def run_isolated(task: Task, params: dict[str, Any], link: LocalLink, limit: int) -> Outcome:
    """Runs a task's code in a process; returns when that has ended, or is about to.

    Raises CommandNotStarted, WardenLost, ProcessDied."""
    check_isolated(task)
    order = Order(
        path=sys.path,
        module=task.function.__module__,
        qualname=task.function.__qualname__,
        name=task.name,
        params=Raw(msgspec.json.encode(params)),
        job_id=link.job_id,
        session_id=link.session_id,
        attempt=link.attempt,
        value_bytes=link.value_bytes,
        result_bytes=limit,
    )
    env = {k: v for k, v in os.environ.items() if not k.startswith(FORBIDDEN_PREFIX)}
    env["PYTHONUNBUFFERED"] = "1"
    ours, theirs = socket.socketpair()
    with theirs:
        try:
            process = await link.spawn(
                [sys.executable, "-P", "-m", "worker.isolated"], env=env, stdin=theirs.fileno()
            )
        except BaseException:
            ours.close()
            raise
    reader, writer = await asyncio.open_connection(sock=ours, limit=LINE_BYTES)
    writer.write(msgspec.json.encode(order) + b"\n")
    return await _Conversation(process, link, reader, writer).hold()


class _Conversation:
    def __init__(
        self,
        process: Process,
        link: LocalLink,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._process = process
        self._link = link
        self._reader = reader
        self._writer = writer
        self._calls = asyncio.Semaphore(MAX_CALLS)
        self._outcome: Outcome | None = None

    async def hold(self) -> Outcome:
        async with asyncio.TaskGroup() as group:
            logging = group.create_task(self._log())
            try:
                await self._listen(group)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(EXIT_SECONDS):
                        await asyncio.shield(logging)
                code = self._process.returncode
                if code is None:
                    code = await self._process.terminate()
            finally:
                self._writer.close()
        if self._outcome is None:
            raise ProcessDied(f"its process ended with status {code} before its code did")
        return self._outcome

    async def _log(self) -> None:
        async for stream, text in self._process.lines():
            # A process that is being stopped may still say something.
            await self._link.print(stream, text)

    async def _listen(self, group: asyncio.TaskGroup) -> None:
        with contextlib.suppress(ConnectionError):
            while line := await self._reader.readline():
                call = msgspec.json.decode(line, type=Call)
                if call.op == "outcome":
                    self._outcome = call.outcome
                    return
                await self._calls.acquire()
                group.create_task(self._answer(call))

    async def _answer(self, call: Call) -> None:
        try:
            answer: dict[str, Any] = {"id": call.id, "ok": await self._do(call)}
        except asyncio.CancelledError:
            answer = {"id": call.id, "error": "CancelledError", "message": ""}
        except CommandNotStarted as error:
            answer = {
                "id": call.id,
                "error": "CommandNotStarted",
                "message": str(error),
                "errno": error.errno,
            }
        except Exception as error:  # noqa: BLE001 (it is the far side's to raise)
            answer = {"id": call.id, "error": type(error).__name__, "message": str(error)}
        finally:
            self._calls.release()
        with contextlib.suppress(ConnectionError):
            self._writer.write(msgspec.json.encode(answer) + b"\n")
            await self._writer.drain()

    async def _do(self, call: Call) -> Any:
        if call.op not in OPS:
            raise ValueError(f"no such call: {call.op}")
        args = call.args
        if call.op in ("progress", "ask", "enqueue", "gather", "keep"):
            args = [*args[:-1], args[-1].encode()]
        result = await getattr(self._link, call.op)(*args)
        return result.decode() if isinstance(result, bytes) else result
