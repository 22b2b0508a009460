"""Finds tasks: in a Python module, or in a toml file."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Collection
from pathlib import Path
from types import ModuleType

from hub.schedule import Schedule
from worker.hooks import Hook
from worker.tasks import Registry, Task
from worker.toml_tasks import load_toml

__all__ = ["LoadError", "load"]

log = logging.getLogger(__name__)

OWN_PACKAGES = ("hub", "worker")


class LoadError(Exception):
    """A target cannot be loaded; the message says which and what to change."""


def load(target: str, *, allow: Collection[str] = ()) -> Registry:
    """The tasks of ``module``, ``module:attribute`` or ``path/to/file.toml``. ``tasks.py`` is
    the module ``tasks``, and ``my/tasks.py`` is ``my.tasks``.

    A module gives every Task, schedule and hook in its namespace; an attribute is a Registry, a
    Task or an object (a module, a class) with Tasks in it. The working directory is put at the end
    of the import path: it adds modules and hides none. ``allow`` names tasks that their toml file
    leaves off.

    Raises LoadError, and TaskError for a task that is declared wrongly; whatever else the module
    itself raises while it is imported comes through unchanged.
    """
    if target.endswith(".toml"):
        try:
            return load_toml(Path(target), allow=allow)
        except OSError as error:
            raise LoadError(f"{target}: {error.strerror}") from error
    module_name, _, attribute = target.partition(":")
    if module_name.endswith(".py"):
        module_name = _module_of(module_name)
    if not all(part.isidentifier() for part in module_name.split(".")):
        raise LoadError(
            f"{target!r}: expected module, module:attribute, a .toml file, or a .py file in the "
            "working directory"
        )
    module = _import(module_name)
    found: object = module
    for name in filter(None, attribute.split(".")):
        if not hasattr(found, name):
            raise LoadError(f"{target}: {module_name} has no {attribute!r}")
        found = getattr(found, name)
    registry = _tasks_in(found)
    if not registry:
        raise LoadError(f"{target}: no task in it; decorate a function with `@task`")
    return registry


def _tasks_in(found: object) -> Registry:
    if isinstance(found, Registry):
        return found
    registry = Registry()
    if isinstance(found, Task):
        registry.add(found)
        return registry
    values = list(vars(found).values()) if hasattr(found, "__dict__") else []
    for value in values:
        if isinstance(value, Task):
            registry.add(value)
    for value in values:
        if isinstance(value, Schedule):
            registry.add_schedule(value)
        if isinstance(value, Hook) and value not in registry.hooks:
            registry.hooks.append(value)
    return registry


def _module_of(file: str) -> str:
    path = Path(file)
    if not path.is_file():
        raise LoadError(f"{file}: no such file in {Path.cwd()}")
    return ".".join(path.with_suffix("").parts)


def _import(name: str) -> ModuleType:
    here = Path.cwd()
    if str(here) not in sys.path and "" not in sys.path:
        sys.path.append(str(here))
    for own in OWN_PACKAGES:
        if hidden := _hidden(here, own):
            log.warning("%s is hidden by jobcast's own package `%s`: rename it", hidden, own)
    top = name.partition(".")[0]
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name + ".").startswith(error.name + "."):
            raise  # an import inside the module failed: that is the user's own traceback
        if hidden := _hidden(here, top):
            raise LoadError(_rename(hidden, top)) from error
        raise LoadError(f"no module {name!r}, in {here} or installed") from error
    if hidden := _hidden(here, top):
        raise LoadError(_rename(hidden, top))
    return module


def _rename(hidden: Path, top: str) -> str:
    holder = getattr(sys.modules.get(top), "__file__", None) or "another module"
    whose = "jobcast's own package" if top in OWN_PACKAGES else holder
    return f"{hidden} is hidden by {whose}, which is also called `{top}`: rename yours"


def _hidden(here: Path, top: str) -> Path | None:
    """The module in the working directory that another one of its name hides."""
    for mine in (here / top / "__init__.py", here / f"{top}.py"):
        if mine.is_file():
            file = getattr(sys.modules.get(top), "__file__", None)
            return mine if file is None or Path(file).resolve() != mine.resolve() else None
    return None
