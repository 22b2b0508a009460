"""The hub's commands. `worker.cli` has its own beside them."""

from typing import Final

from hub.cli.lazy import Lazy, lazy_app

ABOUT: Final = "Background jobs whose every step is pushed to the people who wait for them."

COMMANDS: Final = {
    "hub": Lazy(
        "hub.cli.serve:hub", "Serve the HTTP API, the event streams, the webhooks and the page."
    ),
    "mcp": Lazy(
        "hub.cli.mcp:mcp",
        "Serve one session's jobs to an agent, as tools and resources of MCP on stdin and stdout.",
    ),
    "token": Lazy(
        "hub.cli.token:token",
        "Mint a session token. Needs JOBCAST_SECRET, the one that the hub has.",
    ),
    "enqueue": Lazy("hub.cli.enqueue:enqueue", "Queue a job, and print its id."),
    "jobs": Lazy("hub.cli.jobs:jobs", "List jobs, newest first."),
    "show": Lazy("hub.cli.show:show", "Show a job: what it is, how far it is, and how it ended."),
    "watch": Lazy(
        "hub.cli.watch:watch",
        "Watch a session's jobs and messages as they happen, through restarts of the hub.",
    ),
    "logs": Lazy("hub.cli.logs:logs", "Print a job's log."),
    "cancel": Lazy("hub.cli.act:cancel", "Cancel a job; again is once."),
    "retry": Lazy(
        "hub.cli.act:retry", "Queue a new job that does what an ended one did, and print its id."
    ),
    "answer": Lazy(
        "hub.cli.act:answer",
        "Answer the question that a job asks. A confirm needs the scope approve, or an API key.",
    ),
    "tasks": Lazy(
        "hub.cli.tasks:tasks", "List the tasks that workers announced, and their params."
    ),
    "webhooks": Lazy(
        "hub.cli.webhooks:webhooks", "Register webhooks, test them, and send again what failed."
    ),
    "dead": Lazy("hub.cli.operate:dead", "Jobs that failed for good: list, retry, purge."),
    "pause": Lazy(
        "hub.cli.operate:pause", "Stop handing out a queue's jobs; those that run go on."
    ),
    "resume": Lazy("hub.cli.operate:resume", "Hand out a queue's jobs again."),
    "doctor": Lazy(
        "hub.cli.doctor:doctor",
        "Check the Redis or Valkey server, the workers and the queues; say what to change.",
    ),
}

app = lazy_app(ABOUT, COMMANDS)

__all__ = ["ABOUT", "COMMANDS", "app"]
