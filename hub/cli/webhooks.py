"""`jobcast webhooks`: registered callbacks, and what became of each delivery."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import typer
from msgspec import UNSET
from rich.text import Text

from hub.cli.deliveries import deliveries, replay, try_out
from hub.cli.hub_command import Hub, hub_command, table
from hub.webhooks.shapes import OVERLAP, OwnedWebhook

webhooks = typer.Typer(
    help="Register webhooks, test them, and send again what failed.", no_args_is_help=True
)

WebhookId = Annotated[str, typer.Argument(metavar="WEBHOOK", help="the id of a webhook")]
Types = Annotated[
    list[str] | None, typer.Option("--type", help="such as job.completed; repeat for more")
]


@webhooks.command("list")
@hub_command
def list_webhooks(
    hub: Hub,
    session: Annotated[str | None, typer.Option("--session", "-s", help="of one session")] = None,
    disabled: Annotated[
        bool | None, typer.Option("--disabled/--enabled", help="only those", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=200, help="at most")] = 50,
    cursor: Annotated[
        str | None, typer.Option(help="the next page, as the one before says")
    ] = None,
) -> None:
    """List webhooks, newest first."""
    page = hub.client.webhooks(session_id=session, disabled=disabled, limit=limit, cursor=cursor)
    if hub.json:
        hub.put(page)
        return
    if not page.webhooks:
        hub.say("No webhooks.")
        return
    rows = [
        (hook.id, hook.url, hook.session_id or "all", " ".join(hook.types), _health(hook))
        for hook in page.webhooks
    ]
    hub.say(table(("ID", "URL", "SESSION", "TYPES", ""), rows))
    if page.more:
        hub.say(Text(f"More: --cursor {page.more}", style="dim"))


@webhooks.command()
@hub_command
def add(
    hub: Hub,
    to: Annotated[str, typer.Argument(metavar="URL", help="https://, to a public address")],
    session: Annotated[
        str | None, typer.Option("--session", "-s", help="of one session; else of all")
    ] = None,
    type: Types = None,
    description: Annotated[str | None, typer.Option(help="what it is for")] = None,
) -> None:
    """Register a webhook; print its id and the secret that signs what it gets."""
    hook = hub.client.create_webhook(
        to, session_id=session, types=type or None, description=description
    )
    _with_secret(hub, hook)


@webhooks.command()
@hub_command
def show(hub: Hub, webhook_id: WebhookId) -> None:
    """Show a webhook, with its secret for the credential that registered it."""
    _tell(hub, hub.client.webhook(webhook_id))


@webhooks.command()
@hub_command
def edit(
    hub: Hub,
    webhook_id: WebhookId,
    to: Annotated[str | None, typer.Option("--to", metavar="URL", help="another address")] = None,
    type: Types = None,
    description: Annotated[str | None, typer.Option(help='what it is for; "" for nothing')] = None,
    enabled: Annotated[
        bool | None,
        typer.Option("--enable/--disable", help="start it again, or stop it"),
    ] = None,
) -> None:
    """Change a webhook: where it goes, what it gets, whether it gets anything.

    What waits for a webhook that is disabled is dead; see jobcast webhooks replay."""
    hook = hub.client.edit_webhook(
        webhook_id,
        url=UNSET if to is None else to,
        types=type or UNSET,
        description=UNSET if description is None else description or None,
        enabled=UNSET if enabled is None else enabled,
    )
    _tell(hub, hook)


@webhooks.command()
@hub_command
def rotate(
    hub: Hub,
    webhook_id: WebhookId,
    overlap: Annotated[
        float, typer.Option(min=0, help="seconds that the secrets before go on signing; 0: none")
    ] = OVERLAP,
) -> None:
    """Give a webhook another secret, and print it. Both sign meanwhile."""
    _with_secret(hub, hub.client.rotate_webhook(webhook_id, overlap=overlap))


webhooks.command("test")(try_out)
webhooks.command()(deliveries)
webhooks.command()(replay)


@webhooks.command()
@hub_command
def remove(hub: Hub, webhook_id: WebhookId) -> None:
    """Forget a webhook and what waits for it."""
    hub.client.delete_webhook(webhook_id)
    if hub.json:
        hub.put({"removed": webhook_id})
    else:
        hub.say(f"Removed {webhook_id}.")


@webhooks.command()
@hub_command
def secret(hub: Hub) -> None:
    """Print the secret that signs the webhook_url of jobs that this API key queued."""
    found = hub.client.webhook_secret()
    if hub.json:
        hub.put({"secret": found})
    else:
        hub.say(found)


def _with_secret(hub: Hub, hook: OwnedWebhook) -> None:
    if hub.json:
        hub.put(hook)
    else:
        hub.say(table(("ID", "SECRET"), [(hook.id, hook.secret or "(its owner's)")]))
        _older(hub, hook)


def _tell(hub: Hub, hook: OwnedWebhook) -> None:
    """All of it, a line each."""
    if hub.json:
        hub.put(hook)
        return
    fields: dict[str, Any] = msgspec.structs.asdict(hook)
    fields |= {"types": " ".join(hook.types), "session_id": hook.session_id or "all"}
    for name in ("id", "url", "session_id", "types", "description", "owner", "created_at"):
        if fields[name] is not None:
            hub.say(Text.assemble((f"{name:>13} ", "dim"), fields[name]))
    if hook.secret is not None:
        hub.say(Text.assemble((f"{'secret':>13} ", "dim"), hook.secret))
    hub.say(Text.assemble((f"{'health':>13} ", "dim"), _health(hook) or "well"))
    _older(hub, hook)


def _older(hub: Hub, hook: OwnedWebhook) -> None:
    for one in hook.older:
        hub.say(Text(f"Secret {one.generation} signs too, until {one.until}.", style="dim"))


def _health(hook: Any) -> Text:
    if hook.disabled is not None:
        return Text(f"disabled: {hook.disabled.reason}", style="red")
    if hook.failing_since is not None:
        return Text(f"failing since {hook.failing_since}", style="yellow")
    return Text("")
