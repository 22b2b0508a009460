"""The command `jobcast`: the hub's commands, and those of the worker."""

from __future__ import annotations


def main() -> None:
    """Runs the command line."""
    from hub.cli import app
    from worker.dev import dev
    from worker.serve import worker

    app.command("worker")(worker)
    app.command("dev")(dev)
    app()


if __name__ == "__main__":
    main()
