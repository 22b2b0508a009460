"""The hub's commands. `worker.cli` adds its own to the same `app`."""

import typer

from hub.cli import serve, token

app = typer.Typer(
    name="jobcast",
    help="Background jobs whose every step is pushed to the people who wait for them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command("hub")(serve.hub)
app.command("token")(token.token)

__all__ = ["app"]
