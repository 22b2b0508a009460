"""Tasks: what a worker knows how to do, with typed params and a typed result."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

import msgspec

from hub.jobs import QUEUE_NAME, TASK_NAME
from hub.limits import Limit
from hub.schedule import Schedule
from worker.hooks import Hook
from worker.retry import Retry
from worker.signature import (
    InvalidParams,
    ParamsType,
    TaskError,
    beyond_json,
    read_signature,
    schema_of,
)

if TYPE_CHECKING:
    from worker.context import Context

__all__ = ["InvalidParams", "Registry", "ResultError", "Task", "TaskError", "schedule", "task"]

PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")

Isolation = Literal["loop", "thread", "process"]
Check = Callable[[Mapping[str, Any]], Sequence[tuple[str, str]]]


class ResultError(Exception):
    """A task returned what it had not promised, or what is not JSON."""


class Task:
    """One registered function or declared command. Calling it calls the plain function.

    ``name`` ``title`` ``description`` ``queue`` ``labels``   as announced
    ``timeout``     seconds a try may run, or None for the worker's default
    ``retry``       policy, or None: one try
    ``confirm``     None, or the prompt a person has to say yes to before the job may start;
                    ``{param}`` in it stands for the value of that param
    ``limits``      how many jobs may run at once, ``concurrency`` of the task among them
    ``stall_after`` seconds without progress or a log line after which a try is said to stall
    ``schedule``    when it runs by itself, without params, or None
    ``isolate``     "loop" (a coroutine function), "thread" (a plain one) or "process" (either)
    ``context``     name of the Context parameter, or None
    ``function``    the plain function
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        name: str,
        params: ParamsType,
        result: Any = Any,
        context: str | None = None,
        title: str | None = None,
        description: str = "",
        timeout: float | None = None,
        retry: Retry | None = None,
        confirm: str | None = None,
        queue: str = "default",
        isolate: Isolation | None = None,
        labels: Mapping[str, str] | None = None,
        concurrency: int | None = None,
        limits: Sequence[Limit] = (),
        cron: str | None = None,
        time_zone: str = "UTC",
        stall_after: float | None = None,
        check: Check | None = None,
    ) -> None:
        is_coroutine = inspect.iscoroutinefunction(function)
        self.function = function
        self.name = name
        self.params = params
        self.context = context
        self.title = title
        self.description = description
        self.timeout = timeout
        self.retry = retry
        self.confirm = confirm
        self.queue = queue
        self.isolate: Isolation = isolate or ("loop" if is_coroutine else "thread")
        self.labels = dict(labels or {})
        self.limits = [*([Limit(concurrency)] if concurrency is not None else []), *limits]
        self.stall_after = stall_after
        self.schedule = (
            None if cron is None else Schedule(name=name, task=name, cron=cron, time_zone=time_zone)
        )
        self._check = check
        self._refuse_nonsense(is_coroutine)
        self.__doc__ = function.__doc__
        try:
            self._result_schema = None if result is Any else schema_of(result)
            self._result = None if result is Any else msgspec.json.Decoder(result)
        except (TypeError, ValueError, NotImplementedError) as error:
            raise TaskError(f"task {name}: result: {beyond_json(error)}") from error

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<Task {self.name}>"

    @property
    def max_attempts(self) -> int:
        return self.retry.attempts if self.retry else 1

    def decode_params(self, raw: bytes) -> dict[str, Any]:
        """Keyword arguments from a JSON object. Raises InvalidParams naming every wrong field."""
        params = self.params.decode(raw)
        if self._check and (errors := list(self._check(params))):
            raise InvalidParams(errors)
        return params

    def arguments(self, context: Context, params: Mapping[str, Any]) -> dict[str, Any]:
        """What to call ``function`` with: the params, and the Context if it wants one."""
        return {**params, self.context: context} if self.context else dict(params)

    def encode_result(self, value: Any) -> bytes:
        """JSON of a result, checked against the return annotation; its size is up to the caller.

        Raises ResultError.
        """
        try:
            raw = msgspec.json.encode(value)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise ResultError(f"task {self.name} returned what is not JSON: {error}") from error
        if self._result is not None:
            try:
                self._result.decode(raw)
            except msgspec.DecodeError as error:
                raise ResultError(
                    f"task {self.name} returned something else than it promised: {error}"
                ) from error
        return raw

    def announce(self) -> dict[str, Any]:
        """The task as hubs, agents and pages see it: plain JSON values."""
        said: dict[str, Any] = {
            "name": self.name,
            "description": self.description,
            "params": self.params.schema,
            "timeout": self.timeout,
            "max_attempts": self.max_attempts,
            "confirm": self.confirm,
            "queue": self.queue,
        }
        if self.title:
            said["title"] = self.title
        if self._result_schema is not None:
            said["result"] = self._result_schema
        if self.labels:
            said["labels"] = self.labels
        if self.stall_after is not None:
            said["stall_after"] = self.stall_after
        if self.limits:
            said["limits"] = msgspec.to_builtins(self.limits)
        return said

    def _refuse_nonsense(self, is_coroutine: bool) -> None:
        name = self.name
        if not TASK_NAME.fullmatch(name):
            raise TaskError(
                f"task {name!r}: a name is 1-64 of A-Z a-z 0-9 _ . -, a letter or _ first"
            )
        if not QUEUE_NAME.fullmatch(self.queue):
            raise TaskError(f"task {name}: queue {self.queue!r}: 1-64 of A-Z a-z 0-9 _ . -")
        if self.timeout is not None and not 0 < self.timeout < float("inf"):
            raise TaskError(f"task {name}: timeout {self.timeout!r}: seconds, more than 0")
        if self.stall_after is not None and not 1 <= self.stall_after < float("inf"):
            raise TaskError(f"task {name}: stall_after {self.stall_after!r}: seconds, 1 or more")
        if self.isolate not in ("loop", "thread", "process"):
            raise TaskError(f"task {name}: isolate {self.isolate!r}: 'thread' or 'process'")
        if self.isolate != "process" and is_coroutine != (self.isolate == "loop"):
            kind = (
                "a coroutine function runs in the loop"
                if is_coroutine
                else "a plain function cannot"
            )
            raise TaskError(f"task {name}: isolate {self.isolate!r}: {kind}")
        known = self.params.schema.get("properties", {})
        for used in PLACEHOLDER.findall(self.confirm or ""):
            if used not in known:
                raise TaskError(f"task {name}: confirm: there is no param {used!r}")
        for limit in self.limits:
            try:
                msgspec.convert(msgspec.to_builtins(limit), Limit)
            except msgspec.ValidationError as error:
                raise TaskError(f"task {name}: limits: {error}") from None
            for used in PLACEHOLDER.findall(limit.key or ""):
                if used not in known:
                    raise TaskError(f"task {name}: limits: there is no param {used!r}")


class Registry(Mapping[str, Task]):
    """Tasks by name, and `schedules`. A name is taken once: adding another task, or another
    schedule, under it raises TaskError."""

    def __init__(self) -> None:
        self._tasks: dict[str, Task] = {}
        self._schedules: dict[str, Schedule] = {}
        #: What a worker calls when it starts and stops, in the order of declaration.
        self.hooks: list[Hook] = []

    def __getitem__(self, name: str) -> Task:
        return self._tasks[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tasks)

    def __len__(self) -> int:
        return len(self._tasks)

    def add(self, task: Task) -> Task:
        held = self._tasks.setdefault(task.name, task)
        if held is not task:
            raise TaskError(f"task {task.name}: declared twice")
        if task.schedule is not None:
            self.add_schedule(task.schedule)
        return task

    @property
    def schedules(self) -> list[Schedule]:
        """When which tasks run by themselves."""
        return list(self._schedules.values())

    def add_schedule(self, schedule: Schedule) -> None:
        """Adds a schedule of a task that is here. Raises TaskError where it cannot be."""
        task, what = self._tasks.get(schedule.task), f"schedule {schedule.name}"
        if task is None:
            raise TaskError(f"{what}: there is no task {schedule.task!r}")
        try:
            schedule.check()
            task.decode_params(msgspec.json.encode(schedule.params))
        except (ValueError, InvalidParams) as error:
            raise TaskError(f"{what}: {error}") from None
        if self._schedules.setdefault(schedule.name, schedule) != schedule:
            raise TaskError(f"{what}: declared twice")

    def update(self, other: Registry) -> None:
        """Add every task of another registry."""
        for task in other.values():
            self.add(task)
        for schedule in other.schedules:
            self.add_schedule(schedule)
        self.hooks += [hook for hook in other.hooks if hook not in self.hooks]

    def announce(self) -> dict[str, dict[str, Any]]:
        """Every announcement, by task name."""
        return {name: task.announce() for name, task in self._tasks.items()}


@overload
def task(function: Callable[..., Any], /) -> Task: ...
@overload
def task(
    *,
    name: str | None = None,
    title: str | None = None,
    description: str | None = None,
    timeout: float | None = None,
    retry: Retry | None = None,
    confirm: str | None = None,
    queue: str = "default",
    isolate: Literal["thread", "process"] | None = None,
    labels: Mapping[str, str] | None = None,
    concurrency: int | None = None,
    limits: Sequence[Limit] = (),
    cron: str | None = None,
    time_zone: str = "UTC",
    stall_after: float | None = None,
) -> Callable[[Callable[..., Any]], Task]: ...
def task(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    **options: Any,
) -> Task | Callable[[Callable[..., Any]], Task]:
    """Make a function a task: ``@task`` or ``@task(timeout=600, retry=Retry(attempts=3))``.

    The name is the function's unless said, the description its docstring's first paragraph. Params
    and result are the annotations: every parameter needs one, and
    ``Annotated[str, msgspec.Meta(...)]`` adds descriptions and limits. A parameter annotated
    ``Context`` is given the job's Context.

    Raises TaskError when the function cannot be a task.
    """

    def decorate(function: Callable[..., Any]) -> Task:
        called = function.__name__ if name is None else name
        fields, context, result = read_signature(function, called)
        return Task(
            function,
            name=called,
            params=ParamsType(called, fields),
            result=result,
            context=context,
            description=_first_paragraph(function) if description is None else description,
            **options,
        )

    return decorate if function is None else decorate(function)


def schedule(
    cron: str,
    task: Task | str,
    params: Mapping[str, Any] | None = None,
    /,
    *,
    name: str | None = None,
    time_zone: str = "UTC",
    session_id: str | None = None,
    overlap: bool = True,
) -> Schedule:
    """Has a task run whenever `cron` says so: kept in a variable of the module, or added to a
    Registry. The name is the task's unless said. Its jobs are in `session_id`, or in
    ``schedule:<name>``; with `overlap` false a firing is left out while an earlier job is live.

    Raises TaskError where it cannot be."""
    called = task if isinstance(task, str) else task.name
    made = Schedule(
        name=called if name is None else name,
        task=called,
        cron=cron,
        params=dict(params or {}),
        time_zone=time_zone,
        session_id=session_id,
        overlap=overlap,
    )
    try:
        made.check()
    except ValueError as error:
        raise TaskError(f"schedule {made.name}: {error}") from None
    return made


def _first_paragraph(function: Callable[..., Any]) -> str:
    paragraph = (inspect.getdoc(function) or "").split("\n\n", 1)[0]
    return " ".join(paragraph.split())
