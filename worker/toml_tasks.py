"""Tasks declared in a toml file: a command, its params and how to run it, without any Python.

    [tasks.run_tests]
    description = "Run the tests"
    command = ["pytest", "-v", "-rfE", "{selector}"]
    params.selector = { type = "path", until = "::", default = "", description = "File or test" }
    output = "pytest"
    timeout = 600

Commands are the operator's, params are the agent's: see worker/command_line.py and
worker/toml_params.py for what becomes of them.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec

from hub.limits import Limit
from worker.command_line import CommandLine
from worker.declared import READERS, Declared
from worker.environment import FORBIDDEN_PREFIX
from worker.retry import Retry
from worker.signature import ParamsType
from worker.tasks import Registry, Task, TaskError, schedule
from worker.toml_params import RESERVED, Param, ParamTable

__all__ = ["load_toml", "read_tasks"]

T = TypeVar("T")

# A task that runs any command it is given has to be asked for.
OFF_UNLESS_ALLOWED = frozenset({"shell"})


class RetryTable(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """``retry = {...}``: the arguments of a Retry policy."""

    attempts: int = 3
    base: float = 30.0
    factor: float = 2.0
    cap: float = 3600.0
    jitter: bool = True


class TaskTable(msgspec.Struct, forbid_unknown_fields=True):
    """``[tasks.NAME]`` as written.

    ``command``   a list of words with ``{param}`` placeholders; with ``shell = true`` one string,
                  which finds its params in ``$PARAM_NAME``
    ``cwd``       directory to run in and root of every path, from the toml file's own directory
    ``env``       variables to add; ``JOBCAST_*`` are refused
    ``output``    how its stdout is read: plain, pytest, or jobcast (worker/markers.py)
    ``allow``     false leaves the task off until the worker is started with ``allow`` of its name;
                  a task called ``shell`` is off unless this is true
    """

    command: list[str] | str
    title: str | None = None
    description: str = ""
    params: dict[str, Any] = {}
    timeout: float | None = None
    confirm: str | None = None
    cwd: str = "."
    env: dict[str, str] = {}
    retry: RetryTable | None = None
    queue: str = "default"
    output: str = "plain"
    shell: bool = False
    allow: bool | None = None
    labels: dict[str, str] = {}
    concurrency: Annotated[int, msgspec.Meta(ge=1)] | None = None
    limits: list[Limit] = []
    cron: str | None = None
    time_zone: str = "UTC"
    stall_after: float | None = None


class ScheduleTable(msgspec.Struct, forbid_unknown_fields=True):
    """``[schedules.NAME]`` as written: the arguments of ``schedule``."""

    task: str
    cron: str
    params: dict[str, Any] = {}
    time_zone: str = "UTC"
    session_id: str | None = None
    overlap: bool = True


def load_toml(path: Path, *, allow: Collection[str] = ()) -> Registry:
    """The tasks of a file. Raises OSError, and TaskError as ``read_tasks`` does."""
    return read_tasks(path.read_text("utf-8"), path, allow=allow)


def read_tasks(text: str, path: Path, *, allow: Collection[str] = ()) -> Registry:
    """The tasks of a toml text that stands in the file ``path``.

    ``allow`` names tasks to include although they are off. Raises TaskError, its message naming the
    file, the table and the key to mend.
    """
    registry = Registry()
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise TaskError(f"{path}: {error}") from error
    if unknown := sorted(document.keys() - {"tasks", "schedules"}):
        raise TaskError(f"{path}: {unknown[0]}: unknown; tasks are declared as [tasks.NAME]")
    tables = _tables(document, "tasks", path)
    for name, table in tables.items():
        try:
            declared = _convert(table, TaskTable)
            task = _task(name, declared, path.parent)
        except TaskError as error:
            raise TaskError(f"{path}: [tasks.{name}]: {error}") from error
        on = name not in OFF_UNLESS_ALLOWED if declared.allow is None else declared.allow
        if on or name in allow:
            registry.add(task)
    for name, table in _tables(document, "schedules", path).items():
        try:
            _add_schedule(registry, tables, name, _convert(table, ScheduleTable))
        except TaskError as error:
            raise TaskError(f"{path}: [schedules.{name}]: {error}") from error
    return registry


def _tables(document: Mapping[str, Any], name: str, path: Path) -> dict[str, Any]:
    tables = document.get(name, {})
    if not isinstance(tables, dict):
        raise TaskError(f"{path}: {name}: must be tables, as in [{name}.NAME]")
    return tables


def _add_schedule(
    registry: Registry, tasks: Mapping[str, Any], name: str, table: ScheduleTable
) -> None:
    if table.task in tasks and table.task not in registry:
        return  # its task is off
    registry.add_schedule(
        schedule(
            table.cron,
            table.task,
            table.params,
            name=name,
            time_zone=table.time_zone,
            session_id=table.session_id,
            overlap=table.overlap,
        )
    )


def _task(name: str, table: TaskTable, home: Path) -> Task:
    root = home / table.cwd
    if not root.is_dir():
        raise TaskError(f"cwd: {table.cwd!r} is not a directory of {home.absolute()}")
    params = {key: _param(key, value, root) for key, value in table.params.items()}
    if table.output not in READERS:
        raise TaskError(f"output: {table.output!r}: one of {', '.join(READERS)}")
    if reserved := [key for key in table.env if key.startswith(FORBIDDEN_PREFIX)]:
        raise TaskError(f"env.{reserved[0]}: {FORBIDDEN_PREFIX}* variables are not for commands")
    if wrong := [
        key for key, value in table.env.items() if not key or "=" in key or "\0" in key + value
    ]:
        raise TaskError(f"env.{wrong[0]}: not the name of a variable, or a NUL in its value")
    command = Declared(
        name,
        _script(table, params) if table.shell else _line(table, params),
        cwd=root.resolve(),
        env=table.env,
        reader=READERS[table.output],
    )

    def check(values: Mapping[str, Any]) -> list[tuple[str, str]]:
        return [wrong for key, value in values.items() for wrong in params[key].check(value)]

    return Task(
        command.run,
        name=name,
        params=ParamsType(name, [(key, each.hint, each.default) for key, each in params.items()]),
        context=RESERVED,
        title=table.title,
        description=" ".join(table.description.split()),
        timeout=table.timeout,
        retry=_retry(table.retry),
        confirm=table.confirm,
        queue=table.queue,
        labels=table.labels,
        concurrency=table.concurrency,
        limits=table.limits,
        cron=table.cron,
        time_zone=table.time_zone,
        stall_after=table.stall_after,
        check=check,
    )


def _param(name: str, value: Any, root: Path) -> Param:
    try:
        table = _convert(value, ParamTable)
    except TaskError as error:
        raise TaskError(f"params.{name}: {error}") from error
    return Param(name, table, root)


def _line(table: TaskTable, params: Mapping[str, Param]) -> CommandLine:
    if isinstance(table.command, str):
        raise TaskError('command: a list, as in ["pytest", "-v"]; a script also needs shell = true')
    return CommandLine(table.command, params)


def _script(table: TaskTable, params: Mapping[str, Param]) -> str:
    if not isinstance(table.command, str) or not table.command.strip():
        raise TaskError("command: with shell = true it is one string, a script for /bin/sh")
    variables: dict[str, str] = {}
    for name, param in params.items():
        if (other := variables.setdefault(name.upper(), name)) != name:
            raise TaskError(f"params.{name}: would be the same variable as {other}")
        if param.is_list or param.flag:
            raise TaskError(f"params.{name}: with shell = true there are no lists and no flags")
        if re.search(rf"(?<!\$)\{{{name}\}}", table.command):
            raise TaskError(
                f"command: {{{name}}}: params are never pasted into a script; "
                f'write "$PARAM_{name.upper()}"'
            )
    return table.command


def _retry(table: RetryTable | None) -> Retry | None:
    if table is None:
        return None
    try:
        return Retry(
            attempts=table.attempts,
            base=table.base,
            factor=table.factor,
            cap=table.cap,
            jitter=table.jitter,
        )
    except ValueError as error:
        raise TaskError(f"retry: {error}") from error


def _convert(value: Any, kind: type[T]) -> T:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$.")
        raise TaskError(f"{where.rstrip('`')}: {what}" if where else what) from None
