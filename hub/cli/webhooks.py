"""`jobcast webhooks`: registered callbacks."""

from __future__ import annotations

from typing import Annotated

import typer

from hub.cli.hub_command import Hub, hub_command, table

webhooks = typer.Typer(help="Register, list and delete webhooks.", no_args_is_help=True)

WebhookId = Annotated[str, typer.Argument(metavar="WEBHOOK", help="the id of a webhook")]


@webhooks.command("list")
@hub_command
def list_webhooks(
    hub: Hub,
    session: Annotated[str | None, typer.Option("--session", "-s", help="of one session")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=200, help="at most")] = 50,
) -> None:
    """List webhooks, newest first."""
    page = hub.client.webhooks(session_id=session, limit=limit)
    if hub.json:
        hub.put(page)
        return
    if not page.webhooks:
        hub.say("No webhooks.")
        return
    rows = [
        (
            hook.id,
            hook.url,
            hook.session_id or "all",
            " ".join(hook.types),
            f"disabled: {hook.disabled.reason}" if hook.disabled else "",
        )
        for hook in page.webhooks
    ]
    hub.say(table(("ID", "URL", "SESSION", "TYPES", ""), rows))


@webhooks.command()
@hub_command
def add(
    hub: Hub,
    to: Annotated[str, typer.Argument(metavar="URL", help="https://, to a public address")],
    session: Annotated[
        str | None, typer.Option("--session", "-s", help="of one session; else of all")
    ] = None,
    type: Annotated[
        list[str] | None, typer.Option(help="such as job.completed; repeat for more")
    ] = None,
    description: Annotated[str | None, typer.Option(help="what it is for")] = None,
) -> None:
    """Register a webhook; print its id and the secret that signs what it gets."""
    hook = hub.client.create_webhook(
        to, session_id=session, types=type or None, description=description
    )
    if hub.json:
        hub.put(hook)
    else:
        hub.say(table(("ID", "SECRET"), [(hook.id, hook.secret or "")]))


@webhooks.command()
@hub_command
def show(hub: Hub, webhook_id: WebhookId) -> None:
    """Show a webhook, with its secret for the credential that registered it."""
    hub.put(hub.client.webhook(webhook_id))


@webhooks.command()
@hub_command
def delete(hub: Hub, webhook_id: WebhookId) -> None:
    """Forget a webhook and what waits for it."""
    hub.client.delete_webhook(webhook_id)
    if hub.json:
        hub.put({"deleted": webhook_id})
    else:
        hub.say(f"Deleted {webhook_id}.")


@webhooks.command()
@hub_command
def secret(hub: Hub) -> None:
    """Print the secret that signs the webhook_url of jobs that this API key queued."""
    found = hub.client.webhook_secret()
    if hub.json:
        hub.put({"secret": found})
    else:
        hub.say(found)
