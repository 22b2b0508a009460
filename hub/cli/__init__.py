"""The hub's commands. `worker.cli` adds its own to the same `app`."""

import typer

from hub.cli import (
    act,
    doctor,
    enqueue,
    jobs,
    logs,
    mcp,
    operate,
    serve,
    show,
    tasks,
    token,
    watch,
    webhooks,
)

app = typer.Typer(
    name="jobcast",
    help="Background jobs whose every step is pushed to the people who wait for them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command("hub")(serve.hub)
app.command("mcp")(mcp.mcp)
app.command("token")(token.token)
app.command("enqueue")(enqueue.enqueue)
app.command("jobs")(jobs.jobs)
app.command("show")(show.show)
app.command("watch")(watch.watch)
app.command("logs")(logs.logs)
app.command("cancel")(act.cancel)
app.command("retry")(act.retry)
app.command("answer")(act.answer)
app.command("tasks")(tasks.tasks)
app.add_typer(webhooks.webhooks, name="webhooks")
app.add_typer(operate.dead)
app.command("pause")(operate.pause)
app.command("resume")(operate.resume)
app.command("doctor")(doctor.doctor)

__all__ = ["app"]
