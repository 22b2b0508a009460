"""The worker's side of a job's context: what the code asks for, done under its claim."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

import msgspec

from hub.claims import Claim
from hub.errors import ParentCancelled, StaleToken
from hub.transitions import Transitions
from worker.children import Children
from worker.environment import child_env
from worker.gathered import ChildCall
from worker.leases import Held
from worker.persist import persist
from worker.process import CommandNotStarted, Process
from worker.processes import Processes
from worker.reporter import Reporter

T = TypeVar("T")


class LocalLink:
    """The JobLink of code that runs in this process, and the far end of one that does not.

    `on_stale` is called when the claim turns out to be over, `on_cancelling` when somebody wants
    the job's end; `pause` and `resume` around the time in which nothing runs because a person is
    asked or other jobs are waited for; these are cancelled when that is broken off, unless
    `keeps_children`. Once `stopping`, every call raises CancelledError, but those for commands: the
    warden refuses these by itself when the job ends."""

    def __init__(
        self,
        claim: Claim,
        held: Held,
        reporter: Reporter,
        transitions: Transitions,
        processes: Processes,
        children: Children,
        *,
        value_bytes: int,
        on_stale: Callable[[], None],
        on_cancelling: Callable[[], None],
        keeps_children: Callable[[], bool],
        pause: Callable[[], None],
        resume: Callable[[], Awaitable[None]],
    ) -> None:
        self.job_id = claim.job_id
        self.session_id = claim.session_id
        self.attempt = claim.attempt
        self.value_bytes = value_bytes
        self.stopping = False
        self.answered = asyncio.Event()
        self._claim = claim
        self._held = held
        self._reporter = reporter
        self._transitions = transitions
        self._processes = processes
        self._on_stale = on_stale
        self._on_cancelling = on_cancelling
        self._children = children
        self._keeps_children = keeps_children
        self._pause = pause
        self._resume = resume
        self._steps: dict[str, bytes] | None = None if claim.memo else {}
        self._numbers = itertools.count(1)
        self._commands: dict[int, tuple[Process, AsyncIterator[tuple[str, str]], bool]] = {}

    async def progress(self, progress: bytes) -> None:
        self._check()
        self._reporter.progress(progress)

    async def write(self, stream: str, text: str) -> None:
        self._check()
        await self._reporter.write(stream, text)

    async def print(self, stream: str, text: str) -> None:
        """Logs a line of a command's output; one that is being stopped may still say something."""
        await self._reporter.write(stream, text)

    # ------------------------------------------------------------------ asking

    async def ask(self, input_id: str, members: bytes) -> bytes:
        self._check()
        await self._reporter.flush()
        asked = await self._ask(input_id, members)
        if asked is not None:
            return asked
        self._held.asking = True
        self._pause()
        try:
            while True:
                await self.answered.wait()
                self.answered.clear()
                # Whatever woke us: the same question again is answered by what is true.
                asked = await self._ask(input_id, members)
                if asked is not None:
                    break
        except asyncio.CancelledError:
            if not self.stopping:
                await self._write(
                    lambda: self._transitions.withdraw(self.job_id, self._claim.token)
                )
            raise
        finally:
            self._held.asking = False
            await self._resume()
        return asked

    async def _ask(self, input_id: str, members: bytes) -> bytes | None:
        asked = await self._write(
            lambda: self._transitions.ask(self.job_id, self._claim.token, input_id, members)
        )
        if asked.answer is None and asked.status != "input_required":
            # It was being cancelled, and asking was the end of it.
            self._on_stale()
            raise asyncio.CancelledError
        return asked.answer

    # ------------------------------------------------------------------ children

    async def enqueue(self, name: str, call: bytes) -> str:
        self._check()
        [job_id] = await self._queue(name, [msgspec.json.decode(call, type=ChildCall)])
        return job_id

    async def _queue(self, name: str, calls: list[ChildCall]) -> list[str]:
        try:
            ids = await self._children.queue(self._claim, name, calls)
        except StaleToken:
            self._on_stale()
            raise asyncio.CancelledError from None
        except ParentCancelled:
            self._on_cancelling()
            raise asyncio.CancelledError from None
        self._check()
        return ids

    async def gather(self, name: str, calls: bytes) -> bytes:
        self._check()
        await self._reporter.flush()
        ids = await self._queue(name, msgspec.json.decode(calls, type=list[ChildCall]))
        self._pause()
        try:
            return msgspec.json.encode(await self._children.wait(self.session_id, ids))
        except asyncio.CancelledError:
            if not self._keeps_children():
                await self._children.cancel(self.job_id, ids)
            raise
        finally:
            await self._resume()

    # ------------------------------------------------------------------ steps

    async def recall(self, name: str) -> bytes | None:
        self._check()
        if self._steps is None:
            memo = await persist(lambda: self._transitions.memo(self.job_id))
            self._steps = {
                field.removeprefix("step:"): result
                for field, result in memo.items()
                if field.startswith("step:")
            }
        return self._steps.get(name)

    async def keep(self, name: str, result: bytes) -> None:
        # Also while stopping: what was done should not be done again.
        await self._write(
            lambda: self._transitions.step(self.job_id, self._claim.token, name, result)
        )
        if self._steps is not None:
            self._steps[name] = result

    # ------------------------------------------------------------------ commands

    async def start(self, argv: list[str], cwd: str | None, env: dict[str, str], log: bool) -> int:
        process = await self.spawn(argv, cwd=cwd, env=child_env(env))
        number = next(self._numbers)
        self._commands[number] = process, process.lines(), log
        return number

    async def lines(self, number: int) -> list[tuple[str, str]]:
        _, lines, log = self._commands[number]
        async for stream, text in lines:
            if log:
                await self.print(stream, text)
            return [(stream, text)]
        return []

    async def returncode(self, number: int) -> int:
        return await self._commands[number][0].wait()

    async def stop(self, number: int, grace: float) -> int:
        return await self._commands[number][0].terminate(grace)

    async def spawn(
        self,
        argv: list[str],
        *,
        cwd: str | None = None,
        env: dict[str, str],
        stdin: int | None = None,
    ) -> Process:
        """Starts a command in the warden's keeping."""
        if self.stopping:
            raise CommandNotStarted(f"cannot start {argv[0]!r}: its job is over", 0)
        if not self._held.begun:
            self._held.begun = True
            self._processes.begin(self._held.key, self._held.valid_until)
        return await self._processes.start(self._held.key, argv, cwd=cwd, env=env, stdin=stdin)

    # ------------------------------------------------------------------ writing

    def _check(self) -> None:
        if self.stopping:
            raise asyncio.CancelledError

    async def _write(self, call: Callable[[], Awaitable[T]]) -> T:
        try:
            return await persist(call)
        except StaleToken:
            self._on_stale()
            raise asyncio.CancelledError from None
