"""The command `jobcast`: the hub's commands, and those of the worker."""

from __future__ import annotations

from functools import cache
from typing import Final

import typer

from hub.cli import ABOUT, COMMANDS
from hub.cli.lazy import Lazy, lazy_app

WORKER_COMMANDS: Final = {
    "worker": Lazy("worker.serve:worker", "Run the jobs of a module's or a toml file's tasks."),
    "dev": Lazy(
        "worker.dev:dev", "Run everything: an embedded Valkey, a hub, a worker and the page."
    ),
    "demo": Lazy(
        "worker.demo.command:demo",
        "Play the conversation of the README in this terminal,"
        " and check that all of it comes true.",
    ),
}


@cache
def command_line() -> typer.Typer:
    """All commands."""
    return lazy_app(ABOUT, {**COMMANDS, **WORKER_COMMANDS})


def main() -> None:
    """Runs the command line."""
    command_line()()


if __name__ == "__main__":
    main()
