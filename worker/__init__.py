"""The worker: claims jobs and runs them. ``from worker import Context, Fail, Retry, task``."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hub.limits import Limit as Limit
    from worker.command import CommandFailed as CommandFailed
    from worker.context import Context as Context
    from worker.context import SyncContext as SyncContext
    from worker.gathered import ChildFailed as ChildFailed
    from worker.hooks import on_start as on_start
    from worker.hooks import on_stop as on_stop
    from worker.retry import Fail as Fail
    from worker.retry import Retry as Retry
    from worker.tasks import Registry as Registry
    from worker.tasks import schedule as schedule
    from worker.tasks import task as task

__all__ = [
    "ChildFailed",
    "CommandFailed",
    "Context",
    "Fail",
    "Limit",
    "Registry",
    "Retry",
    "SyncContext",
    "on_start",
    "on_stop",
    "schedule",
    "task",
]

_HOMES = {
    "ChildFailed": "worker.gathered",
    "CommandFailed": "worker.command",
    "Context": "worker.context",
    "Fail": "worker.retry",
    "Limit": "hub.limits",
    "Registry": "worker.tasks",
    "Retry": "worker.retry",
    "SyncContext": "worker.context",
    "on_start": "worker.hooks",
    "on_stop": "worker.hooks",
    "schedule": "worker.tasks",
    "task": "worker.tasks",
}


def __getattr__(name: str) -> object:
    # The warden imports its modules through this package and has to stay a tiny process.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
