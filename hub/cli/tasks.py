"""`jobcast tasks`: what can be queued."""

from __future__ import annotations

from hub.cli.hub_command import Hub, hub_command, table
from hub.cli.params import usage


@hub_command
def tasks(hub: Hub) -> None:
    """List the tasks that workers announced, and their params."""
    found = hub.client.tasks()
    if hub.json:
        hub.put(found)
        return
    if not found:
        hub.say("No worker has announced a task yet: start one with jobcast worker tasks.py")
        return
    rows = [(task.name, usage(task), task.description.partition("\n")[0]) for task in found]
    hub.say(table(("TASK", "PARAMS", "DOES"), rows))
