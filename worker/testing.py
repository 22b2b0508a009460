"""For tests of your own tasks: one job run in place, without Redis, and in no time.

    from worker.testing import run

    def test_deploy() -> None:
        ran = run(deploy, {"environment": "staging"}, answers={"Deploy now?": "yes"})
        assert ran.status == "completed"
        assert ran.progress[-1] == {"percent": 100}

Code of a coroutine function sees a clock that jumps to the next thing that is waited for, so that
`asyncio.sleep(3600)` takes no time and a timeout is exact. What a job would ask of the world is
scripted; what it says is recorded.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeVar

import msgspec

from hub.jobs import JobError
from worker.context import Context, SyncContext
from worker.fake_clock import FakeClockLoop
from worker.gathered import ChildCall, ChildEnd
from worker.outcome import Outcome, completed, invalid, raised, timed_out
from worker.signature import InvalidParams
from worker.tasks import Task

__all__ = ["Ran", "Unscripted", "run"]

T = TypeVar("T")

RESULT_BYTES: Final = 1024 * 1024

Answers = Mapping[str, Any] | Callable[[str, list[str] | None], Any]
Commands = Callable[[list[str]], tuple[int, Sequence[str]]]
Reason = Literal["cancel", "timeout"]
Child = Any | Callable[[dict[str, Any]], Any]


class Unscripted(AssertionError):
    """A task asked for what the test has not scripted. Raised by `run`, whatever the task does."""


@dataclass
class Ran:
    """What came of a job, and all that it did.

    `status` is that of the job after this try: `retrying` where its policy gives it another one,
    after `delay` seconds at most. `elapsed` is in seconds of the fake clock."""

    status: Literal["completed", "failed", "retrying", "cancelled"] = "completed"
    result: Any = None
    error: JobError | None = None
    delay: float | None = None
    elapsed: float = 0.0
    progress: list[dict[str, Any]] = field(default_factory=list)
    log: list[tuple[str, str]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    children: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    commands: list[list[str]] = field(default_factory=list)
    steps: dict[str, Any] = field(default_factory=dict)


def run(
    task: Task,
    params: Mapping[str, Any] | None = None,
    *,
    attempt: int = 1,
    max_attempts: int | None = None,
    answers: Answers | None = None,
    commands: Commands | None = None,
    children: Mapping[str, Child] | None = None,
    steps: Mapping[str, Any] | None = None,
    cancel_at: float | None = None,
    session_id: str = "test",
    job_id: str = "00000000-0000-7000-8000-000000000000",
) -> Ran:
    """Runs one try of a job, as a worker would: params and result are checked, errors become what
    the task's policy makes of them, without jitter.

    `answers`   by prompt, or a function of prompt and options
    `commands`  a function of a command's words, for its exit status and its lines (those of stderr
                start with "! "); nothing is really run
    `children`  by task: the result of a child, or a function of its params that returns it; what
                that raises fails the child
    `steps`     what an earlier try has kept, by name
    `cancel_at` seconds after which the job is cancelled

    May be called where a loop runs: it then has a thread and a loop of its own. A plain function
    runs in a thread, in which time is real, and the fake clock stands still. Raises Unscripted."""
    ran = Ran(steps=dict(steps or {}))
    link = _Link(ran, job_id, session_id, attempt, answers, commands, children or {})
    trial = _Trial(task, dict(params or {}), link, task.max_attempts, cancel_at)
    if max_attempts is not None:
        trial.max_attempts = max_attempts
    _apart(trial.run)
    if link.missed is not None:
        raise Unscripted(link.missed)
    return ran


def _apart(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    def go() -> None:
        with asyncio.Runner(loop_factory=FakeClockLoop) as runner:
            runner.run(work())

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        go()
        return
    errors: list[BaseException] = []

    def caught() -> None:
        try:
            go()
        except BaseException as error:  # noqa: BLE001 (it is the caller's to see)
            errors.append(error)

    thread = threading.Thread(target=caught)
    thread.start()
    thread.join()
    for error in errors:
        raise error


class _Trial:
    def __init__(
        self,
        task: Task,
        params: dict[str, Any],
        link: _Link,
        max_attempts: int,
        cancel_at: float | None,
    ) -> None:
        self._task = task
        self._params = params
        self._link = link
        self.max_attempts = max_attempts
        self._cancel_at = cancel_at
        self._why: Reason | None = None

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        outcome = await self._outcome(loop)
        self._link.ran.elapsed = loop.time() - began
        self._tell(outcome)

    async def _outcome(self, loop: asyncio.AbstractEventLoop) -> Outcome:
        task, attempt = self._task, self._link.attempt
        try:
            params = task.decode_params(msgspec.json.encode(self._params))
        except InvalidParams as error:
            return invalid(error)
        code = asyncio.ensure_future(self._call(params))
        ends: dict[Reason, float | None] = {"cancel": self._cancel_at, "timeout": task.timeout}
        timers = [
            loop.call_later(at, self._stop, code, why) for why, at in ends.items() if at is not None
        ]
        try:
            value = await code
        except asyncio.CancelledError as error:
            if self._why == "timeout":
                return timed_out(task, attempt, task.timeout or 0.0, _no_jitter)
            if self._why:
                return Outcome(kind="stopped")
            return raised(task, attempt, error, _no_jitter)
        except Exception as error:  # noqa: BLE001 (whatever the task raises is its outcome)
            return raised(task, attempt, error, _no_jitter)
        finally:
            for timer in timers:
                timer.cancel()
        return completed(task, value, RESULT_BYTES)

    def _stop(self, code: asyncio.Future[Any], why: Reason) -> None:
        self._why = why
        self._link.stopping = True
        code.cancel()

    async def _call(self, params: dict[str, Any]) -> Any:
        context = Context(self._link)
        function = self._task.function
        if inspect.iscoroutinefunction(function):
            return await function(**self._task.arguments(context, params))
        loop = asyncio.get_running_loop()
        plain: Any = SyncContext(context, loop)
        return await asyncio.to_thread(function, **self._task.arguments(plain, params))

    def _tell(self, outcome: Outcome) -> None:
        ran = self._link.ran
        match outcome.kind:
            case "completed":
                ran.result = msgspec.json.decode(outcome.result)
            case "stopped":
                ran.status = "cancelled"
            case kind:
                again = kind == "retry" and self._link.attempt < self.max_attempts
                ran.status = "retrying" if again else "failed"
                ran.delay = outcome.delay if again else None
                ran.error = msgspec.json.decode(outcome.error(), type=JobError)
                ran.error.traceback = outcome.traceback


class _Link:
    """The JobLink of a job that is run in place."""

    value_bytes = RESULT_BYTES

    def __init__(
        self,
        ran: Ran,
        job_id: str,
        session_id: str,
        attempt: int,
        answers: Answers | None,
        commands: Commands | None,
        children: Mapping[str, Child],
    ) -> None:
        self.ran = ran
        self.job_id = job_id
        self.session_id = session_id
        self.attempt = attempt
        self.stopping = False
        self.missed: str | None = None
        self._answers = answers
        self._commands = commands
        self._children = children
        self._ends: dict[str, ChildEnd] = {}
        self._given: dict[str, bytes] = {}
        self._running: list[tuple[int, list[tuple[str, str]]]] = []

    def _miss(self, what: str) -> Unscripted:
        self.missed = self.missed or what
        return Unscripted(what)

    async def progress(self, progress: bytes) -> None:
        self.ran.progress.append(msgspec.json.decode(progress))

    async def write(self, stream: str, text: str) -> None:
        self.ran.log += [(stream, line) for line in text.removesuffix("\n").split("\n")]

    async def ask(self, input_id: str, members: bytes) -> bytes:
        if input_id not in self._given:
            asked = msgspec.json.decode(b"{" + members + b"}")
            prompt, options = asked["prompt"], asked["options"]
            self.ran.asked.append(prompt)
            answer = self._answer(prompt, options)
            if options is not None and answer not in options:
                raise self._miss(f"{answer!r} is no answer to {prompt!r}: {options}")
            self._given[input_id] = msgspec.json.encode(answer)
        return self._given[input_id]

    def _answer(self, prompt: str, options: list[str] | None) -> Any:
        if callable(self._answers):
            return self._answers(prompt, options)
        if self._answers is None or prompt not in self._answers:
            raise self._miss(f"it asks {prompt!r}: run(..., answers={{{prompt!r}: ...}})")
        return self._answers[prompt]

    async def enqueue(self, name: str, call: bytes) -> str:
        return self._child(name, msgspec.json.decode(call, type=ChildCall))

    async def gather(self, name: str, calls: bytes) -> bytes:
        wanted = msgspec.json.decode(calls, type=list[ChildCall])
        ids = [call.job_id or self._child(f"{name}/{n}", call) for n, call in enumerate(wanted)]
        gone = ChildEnd("", "", "gone")
        return msgspec.json.encode([self._ends.get(job_id, gone) for job_id in ids])

    def _child(self, name: str, call: ChildCall) -> str:
        job_id = f"{self.job_id}/{name}"
        params = msgspec.json.decode(call.params)
        self.ran.children.append((call.task, params))
        if call.task not in self._children:
            raise self._miss(f"it queues {call.task!r}: run(..., children={{{call.task!r}: ...}})")
        child = self._children[call.task]
        try:
            result = child(params) if callable(child) else child
        except Exception as error:  # noqa: BLE001 (the child's failure is what the test wants)
            failure = JobError(code="error", message=str(error), type=type(error).__name__)
            end = ChildEnd(job_id, call.task, "failed", error=failure)
        else:
            end = ChildEnd(job_id, call.task, "completed", msgspec.Raw(msgspec.json.encode(result)))
        self._ends[job_id] = end
        return job_id

    async def recall(self, name: str) -> bytes | None:
        kept = self.ran.steps.get(name, msgspec.UNSET)
        return None if kept is msgspec.UNSET else msgspec.json.encode(kept)

    async def keep(self, name: str, result: bytes) -> None:
        self.ran.steps[name] = msgspec.json.decode(result)

    async def start(self, argv: list[str], cwd: str | None, env: dict[str, str], log: bool) -> int:
        self.ran.commands.append(argv)
        if self._commands is None:
            raise self._miss(f"it runs {argv}: run(..., commands=lambda argv: (0, []))")
        code, lines = self._commands(argv)
        told = [
            ("stderr", line[2:]) if line.startswith("! ") else ("stdout", line) for line in lines
        ]
        if log:
            self.ran.log += told
        self._running.append((code, told))
        return len(self._running) - 1

    async def lines(self, number: int) -> list[tuple[str, str]]:
        lines = self._running[number][1]
        return [lines.pop(0)] if lines else []

    async def returncode(self, number: int) -> int:
        return self._running[number][0]

    async def stop(self, number: int, grace: float) -> int:
        return self._running[number][0]


def _no_jitter() -> float:
    return 1.0
