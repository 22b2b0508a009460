"""The command `jobcast`: the hub's commands, and those of the worker."""

from __future__ import annotations

from functools import cache

import typer


@cache
def command_line() -> typer.Typer:
    """All commands."""
    from hub.cli import app
    from worker.demo.command import demo
    from worker.dev import dev
    from worker.serve import worker

    app.command("worker")(worker)
    app.command("dev")(dev)
    app.command("demo")(demo)
    return app


def main() -> None:
    """Runs the command line."""
    command_line()()


if __name__ == "__main__":
    main()
