"""The process of a task with `isolate="process"`: see `worker.isolation` for what it says."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import itertools
import os
import random
import signal
import socket
import sys
import threading
from typing import Any, NoReturn

import msgspec

from worker.context import Context, SyncContext
from worker.isolation import LINE_BYTES, Order
from worker.outcome import Outcome, completed, raised
from worker.process import CommandNotStarted
from worker.tasks import Registry, Task, task

_STOPPED = Outcome(kind="stopped")


class SocketLink:
    """The JobLink of this process's code."""

    def __init__(
        self, order: Order, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.job_id = order.job_id
        self.session_id = order.session_id
        self.attempt = order.attempt
        self.value_bytes = order.value_bytes
        self.stopping = False
        self._reader = reader
        self._writer = writer
        self._numbers = itertools.count(1)
        self._calls: dict[int, asyncio.Future[Any]] = {}

    async def progress(self, progress: bytes) -> None:
        await self._call("progress", progress.decode())

    async def write(self, stream: str, text: str) -> None:
        await self._call("write", stream, text)

    async def ask(self, input_id: str, members: bytes) -> bytes:
        answer: str = await self._call("ask", input_id, members.decode())
        return answer.encode()

    async def enqueue(self, name: str, call: bytes) -> str:
        job_id: str = await self._call("enqueue", name, call.decode())
        return job_id

    async def gather(self, name: str, calls: bytes) -> bytes:
        ends: str = await self._call("gather", name, calls.decode())
        return ends.encode()

    async def recall(self, name: str) -> bytes | None:
        kept: str | None = await self._call("recall", name)
        return None if kept is None else kept.encode()

    async def keep(self, name: str, result: bytes) -> None:
        await self._call("keep", name, result.decode())

    async def start(self, argv: list[str], cwd: str | None, env: dict[str, str], log: bool) -> int:
        number: int = await self._call("start", argv, cwd, env, log)
        return number

    async def lines(self, number: int) -> list[tuple[str, str]]:
        lines: list[tuple[str, str]] = await self._call("lines", number)
        return lines

    async def returncode(self, number: int) -> int:
        code: int = await self._call("returncode", number)
        return code

    async def stop(self, number: int, grace: float) -> int:
        code: int = await self._call("stop", number, grace)
        return code

    async def listen(self) -> NoReturn:
        """Takes the worker's answers. Ends the process when the worker is gone."""
        while line := await self._reader.readline():
            answer = msgspec.json.decode(line)
            call = self._calls.pop(answer["id"], None)
            if call is None or call.done():
                continue
            if "ok" in answer:
                call.set_result(answer["ok"])
            else:
                call.set_exception(_error(answer))
        os._exit(1)

    async def tell(self, outcome: Outcome) -> None:
        """Says what came of the code."""
        message = {"op": "outcome", "outcome": outcome}
        self._writer.write(msgspec.json.encode(message) + b"\n")
        await self._writer.drain()

    async def _call(self, op: str, *args: Any) -> Any:
        number = next(self._numbers)
        call = self._calls[number] = asyncio.get_running_loop().create_future()
        try:
            message = {"id": number, "op": op, "args": args}
            self._writer.write(msgspec.json.encode(message) + b"\n")
            await self._writer.drain()
            return await call
        finally:
            self._calls.pop(number, None)


def _error(answer: dict[str, Any]) -> BaseException:
    match answer["error"]:
        case "CancelledError":
            return asyncio.CancelledError()
        case "CommandNotStarted":
            return CommandNotStarted(answer["message"], answer["errno"])
        case name:
            return RuntimeError(f"{name}: {answer['message']}")


def find_task(order: Order) -> Task:
    """The task that is meant: the one of its name in its module, else made of its function."""
    module = importlib.import_module(order.module)
    for value in vars(module).values():
        if isinstance(value, Task) and value.name == order.name:
            return value
        if isinstance(value, Registry) and order.name in value:
            return value[order.name]
    found: Any = module
    for part in order.qualname.split("."):
        found = getattr(found, part)
    if isinstance(found, Task):
        return found
    return task(name=order.name)(found)


async def _connect(order: Order, sock: socket.socket) -> SocketLink:
    reader, writer = await asyncio.open_connection(sock=sock, limit=LINE_BYTES)
    return SocketLink(order, reader, writer)


async def _run_coroutine(order: Order, found: Task, sock: socket.socket) -> None:
    link = await _connect(order, sock)
    listening = asyncio.ensure_future(link.listen())
    code = asyncio.ensure_future(_outcome(order, found, link))

    def stop() -> None:
        link.stopping = True
        code.cancel()

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop)
    await link.tell(await code)
    listening.cancel()


async def _outcome(order: Order, found: Task, link: SocketLink) -> Outcome:
    try:
        params = found.decode_params(bytes(order.params))
        value = await found.function(**found.arguments(Context(link), params))
    except asyncio.CancelledError as error:
        if link.stopping:
            return _STOPPED
        return raised(found, order.attempt, error, random.random)
    except BaseException as error:  # noqa: BLE001 (the worker has to hear of it)
        return raised(found, order.attempt, error, random.random)
    return completed(found, value, order.result_bytes)


def _run_function(order: Order, found: Task, sock: socket.socket) -> None:
    """The function has the main thread, where a signal can interrupt it wherever it is."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    link = asyncio.run_coroutine_threadsafe(_connect(order, sock), loop).result()
    listening = asyncio.run_coroutine_threadsafe(link.listen(), loop)
    context = SyncContext(Context(link), loop)

    def stop(*_: object) -> None:
        if not link.stopping:
            link.stopping = True
            raise asyncio.CancelledError

    signal.signal(signal.SIGTERM, stop)
    outcome = _STOPPED
    try:
        params = found.decode_params(bytes(order.params))
        value = found.function(**found.arguments(context, params))  # type: ignore[arg-type]
        outcome = completed(found, value, order.result_bytes)
    except asyncio.CancelledError as error:
        if not link.stopping:
            outcome = raised(found, order.attempt, error, random.random)
    except BaseException as error:  # noqa: BLE001 (the worker has to hear of it)
        outcome = raised(found, order.attempt, error, random.random)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    asyncio.run_coroutine_threadsafe(link.tell(outcome), loop).result()
    listening.cancel()
    # Queued behind the cancellation, so that runs first.
    loop.call_soon_threadsafe(loop.call_soon, loop.stop)
    thread.join()
    loop.close()


def main() -> None:
    """Runs the one task that the first line of the socket on descriptor 0 orders."""
    sock = socket.socket(fileno=os.dup(0))
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)
    # Nothing follows the order before we say something, so nothing is read ahead.
    with sock.makefile("rb") as lines:
        line = lines.readline()
    if not line:
        return
    order = msgspec.json.decode(line, type=Order)
    sys.path[:] = order.path
    found = find_task(order)
    if inspect.iscoroutinefunction(found.function):
        asyncio.run(_run_coroutine(order, found, sock))
    else:
        _run_function(order, found, sock)


if __name__ == "__main__":
    main()
