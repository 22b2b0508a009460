"""What a task's code does with its job: tell how far it is, log, run commands, ask, keep steps."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import os
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError as CancelledCall
from concurrent.futures import Future
from typing import Any, Final, Protocol, TypeVar

import msgspec

from hub.jobs import ID_NAME
from worker.command import Command, CommandFailed, Line
from worker.gathered import ChildEnd, ChildFailed
from worker.reporter import cut
from worker.tasks import Task

__all__ = ["ChildFailed", "Command", "CommandFailed", "Context", "JobLink", "Line", "SyncContext"]

T = TypeVar("T")

MESSAGE_BYTES: Final = 1_024
PROMPT_BYTES: Final = 4_096


class JobLink(Protocol):
    """The way from a job's code to its worker; over a socket where the code has a process of its
    own. Results of steps and answers are JSON."""

    job_id: str
    session_id: str
    attempt: int
    stopping: bool
    value_bytes: int

    async def progress(self, progress: bytes) -> None: ...
    async def write(self, stream: str, text: str) -> None: ...
    async def ask(self, input_id: str, members: bytes) -> bytes: ...
    async def enqueue(self, name: str, call: bytes) -> str: ...
    async def gather(self, name: str, calls: bytes) -> bytes: ...
    async def recall(self, name: str) -> bytes | None: ...
    async def keep(self, name: str, result: bytes) -> None: ...
    async def start(
        self, argv: list[str], cwd: str | None, env: dict[str, str], log: bool
    ) -> int: ...
    async def lines(self, number: int) -> list[tuple[str, str]]: ...
    async def returncode(self, number: int) -> int: ...
    async def stop(self, number: int, grace: float) -> int: ...


class Context:
    """What a coroutine function gets for its parameter annotated `Context`.

    `job_id` and `session_id` are text; `attempt` counts tries from 1."""

    def __init__(self, link: JobLink) -> None:
        self._link = link
        self.job_id = link.job_id
        self.session_id = link.session_id
        self.attempt = link.attempt
        self._asked: Counter[str] = Counter()
        self._asking = asyncio.Lock()
        self._gathered = self._enqueued = 0

    @property
    def cancelled(self) -> bool:
        """Whether the job has to stop: it was cancelled, is out of time, or its worker goes. A
        coroutine gets CancelledError as well; a function in a thread may look here."""
        return self._link.stopping

    @property
    def idempotency_key(self) -> str:
        """For effects outside that must happen once: the same in every try and every rerun of this
        job, and in no other job. Where one job has several effects, add a word of your own."""
        return self.job_id

    async def progress(
        self,
        value: float | None = None,
        of: float | None = None,
        /,
        *,
        percent: float | None = None,
        current: float | None = None,
        total: float | None = None,
        message: str | None = None,
    ) -> None:
        """Tells how far the job is: ``progress(45)`` per cent, ``progress(23, 47)`` or
        ``progress(current=23, total=47)``, each with a `message` (1 KiB) or that alone.

        It is told at most 10 times a second, the last one always; each replaces the one before.
        Raises ValueError for what is not a number, or a percentage outside 0–100."""
        if value is not None:
            if of is None:
                percent = value
            else:
                current, total = value, of
        if percent is None and current is not None and total:
            percent = round(min(100.0, max(0.0, 100.0 * current / total)), 1)
        if percent is not None and not 0 <= percent <= 100:
            raise ValueError(f"progress of {percent!r} %: 0 to 100; for counts: progress(23, 47)")
        told: dict[str, Any] = {}
        for name, number in (("percent", percent), ("current", current), ("total", total)):
            if number is not None:
                if not abs(number) < float("inf"):
                    raise ValueError(f"progress: {name} is {number!r}")
                told[name] = number
        if message is not None:
            told["message"] = cut(str(message), MESSAGE_BYTES)
        await self._link.progress(msgspec.json.encode(told))

    async def log(self, text: object, stream: str = "stdout") -> None:
        """Adds to the job's log; text of several lines is several lines, each of 8 KiB at most.

        It waits while Redis is slow and 2,000 lines (256 KiB) are on their way, so a job never
        loses a line and never fills the worker's memory. `stream` is "stdout" or "stderr"."""
        if stream not in ("stdout", "stderr"):
            raise ValueError(f"stream {stream!r}: 'stdout' or 'stderr'")
        await self._link.write(stream, str(text))

    def run(
        self,
        argv: Sequence[str | os.PathLike[str]],
        *,
        cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
        check: bool = True,
        log: bool = True,
    ) -> Command:
        """Runs a command, owned to its last grandchild: what is left of it ends with the job.

        Iterate over the lines (`stream`, `text`), or ``await`` it; they go to the job's log too,
        unless `log` is False. `env` adds to an allowlisted environment. A command that writes
        faster than its lines are taken waits. Raises CommandFailed for an exit status other than
        0 unless `check` is False, and CommandNotStarted when it never ran."""
        words = [os.fspath(word) for word in argv]
        if isinstance(argv, str) or not words:
            raise ValueError(f"run({argv!r}): a list of words, as in ['pytest', '-v']")
        folder = None if cwd is None else os.fspath(cwd)
        extra = dict(env or {})
        link = self._link
        return Command(words[0], lambda: link.start(words, folder, extra, log), link, check)

    async def ask(
        self,
        prompt: str,
        options: Sequence[str] | None = None,
        *,
        schema: Mapping[str, Any] | None = None,
        id: str | None = None,
    ) -> Any:
        """Asks a person, and returns the answer: one of `options`, or JSON that fits `schema`, or
        text. The worker's slot is free and the job's timeout stands still until then.

        The answer is kept: after a crash, or on another try, the same question is answered at
        once. Questions are told apart by `id` (`A-Z a-z 0-9 _ . : -`), or else by their words and
        how often they were asked before. Cancelling the caller (`asyncio.timeout`) takes the
        question back. One question of a job is open at a time; others wait."""
        if len(prompt.encode("utf-8", "replace")) > PROMPT_BYTES:
            raise ValueError(f"a prompt has at most {PROMPT_BYTES:,} bytes")
        if options is not None and (isinstance(options, str) or not options):
            raise ValueError(f"options {options!r}: a list of answers to choose from")
        asked = {
            "kind": "question",
            "prompt": cut(prompt, PROMPT_BYTES),
            "options": None if options is None else [cut(str(o), MESSAGE_BYTES) for o in options],
            "schema": None if schema is None else dict(schema),
        }
        if id is None:
            digest = hashlib.sha256(msgspec.json.encode(asked)).hexdigest()[:16]
            self._asked[digest] += 1
            id = f"ask.{digest}.{self._asked[digest]}"
        elif not ID_NAME.fullmatch(id):
            raise ValueError(f"id {id!r}: 1–128 of A-Z a-z 0-9 _ . : -")
        members = msgspec.json.encode({"id": id, **asked})[1:-1]
        async with self._asking:
            return msgspec.json.decode(await self._link.ask(id, members))

    async def enqueue(
        self,
        task: str | Task,
        params: Mapping[str, Any] | None = None,
        /,
        *,
        name: str | None = None,
        **options: Any,
    ) -> str:
        """Queues a job in this job's session and returns its id, without waiting for it; `gather`
        takes such ids. `options` are those of ``POST /jobs``: title, key, queue, priority, delay,
        run_at, expires_in, timeout, max_attempts, metadata.

        After a crash, and on another try, the same child is found again by `name` (unique in the
        job; or else by how many were queued before), and only one that had failed in an earlier
        try is queued anew. Cancelling this job cancels its children. Raises BadInput for what
        cannot be queued."""
        self._enqueued += 1
        place = f"enqueue.{self._enqueued}" if name is None else name
        _check_step(place)
        return await self._link.enqueue(place, msgspec.json.encode(_child(task, params, options)))

    async def gather(
        self,
        *calls: tuple[str | Task, Mapping[str, Any]] | str,
        name: str | None = None,
        return_errors: bool = False,
    ) -> list[Any]:
        """Queues a job for each ``(task, params)``, in this job's session, and returns their
        results in this order once all have ended; in place of one may stand the id of a job that
        `enqueue` returned. The worker's slot is free and the job's timeout stands still until then.

        After a crash, and on another try, the same children are found again by `name` (unique in
        the job; or else by how many gathers came before), and only those that had failed in an
        earlier try are queued anew. Raises ChildFailed for the first that did not complete; with
        `return_errors` it stands in its place instead. Cancelling the caller, or the job, cancels
        those that have not ended. At most 1,000 at once; raises BadInput for what cannot be
        queued."""
        self._gathered += 1
        place = f"gather.{self._gathered}" if name is None else name
        _check_step(place)
        wanted = [
            {"job_id": call} if isinstance(call, str) else _child(call[0], call[1], {})
            for call in calls
        ]
        ends = msgspec.json.decode(
            await self._link.gather(place, msgspec.json.encode(wanted)), type=list[ChildEnd]
        )
        results = [
            msgspec.json.decode(end.result) if end.status == "completed" else ChildFailed(end)
            for end in ends
        ]
        if not return_errors:
            for result in results:
                if isinstance(result, ChildFailed):
                    raise result
        return results

    async def step(self, name: str, fn: Callable[..., Any], /, *args: Any) -> Any:
        """The result of ``fn(*args)``, which is called once in the life of the job: a rerun after
        a crash, and another try, get what was kept under `name` (unique in the job).

        `fn` may be a coroutine function; a plain function is called in place and should not
        block. The result is what JSON makes of it, in the first run too, and at most as large as a
        job's result. What `fn` raises is not kept. Raises TypeError for what is not JSON."""
        _check_step(name)
        kept = await self._link.recall(name)
        if kept is None:
            result = fn(*args)
            if inspect.isawaitable(result):
                result = await result
            kept = _step_result(name, result, self._link.value_bytes)
            await self._link.keep(name, kept)
        return msgspec.json.decode(kept)


class SyncCommand:
    """A Command for a function in a thread: a plain iterator of lines."""

    def __init__(self, command: Command, call: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
        self._command = command
        self._call = call

    @property
    def returncode(self) -> int | None:
        """The exit status, once the lines are over."""
        return self._command.returncode

    def __iter__(self) -> Iterator[Line]:
        while (line := self._call(_next(self._command))) is not None:
            yield line

    def wait(self) -> int | None:
        """Lets it run to its end; its exit status. Raises CommandFailed as iterating does."""
        for _ in self:
            pass
        return self.returncode

    def stop(self, grace: float = 5.0) -> int | None:
        """As `Command.stop`."""
        code: int | None = self._call(self._command.stop(grace))
        return code


class SyncContext:
    """What a plain function gets: the same names as Context has, without ``await``.

    Once the job has to stop, every call raises asyncio.CancelledError: let it through."""

    def __init__(self, context: Context, loop: asyncio.AbstractEventLoop) -> None:
        self._context = context
        self._loop = loop
        self._calls: set[Future[Any]] = set()
        self.job_id = context.job_id
        self.session_id = context.session_id
        self.attempt = context.attempt

    @property
    def cancelled(self) -> bool:
        """As `Context.cancelled`."""
        return self._context.cancelled

    @property
    def idempotency_key(self) -> str:
        """As `Context.idempotency_key`."""
        return self._context.idempotency_key

    def progress(self, value: float | None = None, of: float | None = None, /, **told: Any) -> None:
        """As `Context.progress`."""
        self._call(self._context.progress(value, of, **told))

    def log(self, text: object, stream: str = "stdout") -> None:
        """As `Context.log`."""
        self._call(self._context.log(text, stream))

    def run(self, argv: Sequence[str | os.PathLike[str]], **options: Any) -> SyncCommand:
        """As `Context.run`: iterate over the lines, or `wait()`."""
        return SyncCommand(self._context.run(argv, **options), self._call)

    def ask(self, prompt: str, options: Sequence[str] | None = None, **more: Any) -> Any:
        """As `Context.ask`."""
        return self._call(self._context.ask(prompt, options, **more))

    def enqueue(
        self, task: str | Task, params: Mapping[str, Any] | None = None, /, **options: Any
    ) -> str:
        """As `Context.enqueue`."""
        return self._call(self._context.enqueue(task, params, **options))

    def gather(self, *calls: tuple[str | Task, Mapping[str, Any]] | str, **more: Any) -> list[Any]:
        """As `Context.gather`."""
        return self._call(self._context.gather(*calls, **more))

    def step(self, name: str, fn: Callable[..., Any], /, *args: Any) -> Any:
        """As `Context.step`; `fn` is called in this thread."""
        _check_step(name)
        link = self._context._link
        kept = self._call(link.recall(name))
        if kept is None:
            kept = _step_result(name, fn(*args), link.value_bytes)
            self._call(link.keep(name, kept))
        return msgspec.json.decode(kept)

    def interrupt(self) -> None:
        """Has the calls that wait now raise CancelledError: the job has to stop. Thread-safe."""
        for call in tuple(self._calls):
            call.cancel()

    def _call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        if self.cancelled:
            coroutine.close()
            raise asyncio.CancelledError
        call = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        self._calls.add(call)
        try:
            return call.result()
        except CancelledCall:
            raise asyncio.CancelledError from None
        finally:
            self._calls.discard(call)


def _child(
    task: str | Task, params: Mapping[str, Any] | None, options: Mapping[str, Any]
) -> dict[str, Any]:
    called = task if isinstance(task, str) else task.name
    return {"task": called, "params": dict(params or {}), "options": dict(options)}


def _check_step(name: str) -> None:
    if not ID_NAME.fullmatch(name):
        raise ValueError(f"step {name!r}: 1–128 of A-Z a-z 0-9 _ . : -")


def _step_result(name: str, result: Any, limit: int) -> bytes:
    kept = msgspec.json.encode(result)
    if len(kept) > limit:
        raise ValueError(f"step {name}: its result has {len(kept):,} bytes, more than {limit:,}")
    return kept


async def _next(command: Command) -> Line | None:
    async for line in command:
        return line
    return None
