"""`jobcast webhooks test`, `deliveries` and `replay`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final

import msgspec
import typer
from rich.text import Text

from hub.cli.hub_command import Hub, hub_command, table
from hub.jobs import JOB_ID
from hub.webhooks.shapes import Delivery, DeliveryPage, Try, WholeDelivery

STYLES: Final = {"waiting": "cyan", "sending": "blue", "done": "green", "dead": "red"}
#: How long a person waits for a try, in seconds: it takes 15 at most.
PATIENCE: Final = 20.0
_BEGUN: Final = 60

WebhookId = Annotated[str, typer.Argument(metavar="WEBHOOK", help="the id of a webhook")]


def _moment(help_text: str) -> Any:
    formats = ["%Y-%m-%dT%H:%M:%S.%f%z", "%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M%z"]
    return typer.Option(formats=formats, metavar="TIME", help=help_text)


@hub_command
def try_out(
    hub: Hub,
    webhook_id: WebhookId,
    type: Annotated[
        str | None, typer.Option(help="an example of this event instead, such as job.failed")
    ] = None,
) -> None:
    """Send a webhook a test, once, and say what was answered. Exits 1 where it failed."""
    _tried(hub, hub.client.test_webhook(webhook_id, type=type, wait=PATIENCE))


@hub_command
def deliveries(
    hub: Hub,
    of: Annotated[
        str,
        typer.Argument(
            metavar="WEBHOOK|JOB|DELIVERY",
            help="the id of a webhook, of a job, or of one delivery to show whole",
        ),
    ],
    status: Annotated[
        str | None, typer.Option(help="only those: waiting, sending, done or dead")
    ] = None,
    job: Annotated[str | None, typer.Option(help="only those about this job")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=200, help="at most")] = 20,
    cursor: Annotated[
        str | None, typer.Option(help="the next page, as the one before says")
    ] = None,
) -> None:
    """List a webhook's deliveries, the newest event first; or those about a job, to all webhooks,
    its own webhook_url too; or show one, with its tries."""
    if JOB_ID.fullmatch(of):
        _list(hub, hub.client.job_deliveries(of))
        return
    if of.startswith("msg_"):
        _whole(hub, hub.client.delivery(of))
        return
    # What is none of the statuses is told by the hub.
    wanted: Any = status
    _list(hub, hub.client.deliveries(of, status=wanted, job_id=job, limit=limit, cursor=cursor))


@hub_command
def replay(
    hub: Hub,
    of: Annotated[
        str,
        typer.Argument(
            metavar="WEBHOOK|DELIVERY",
            help="a delivery; or with --since, all that failed of a webhook's",
        ),
    ],
    since: Annotated[datetime | None, _moment("events from this time on")] = None,
    until: Annotated[datetime | None, _moment("and no later; now unless said")] = None,
) -> None:
    """Send again one delivery, or all that failed of a webhook's events since a time.

    A time has its zone: 2026-01-31T08:00Z. It is that of the events, not of their last tries."""
    if of.startswith("msg_"):
        if since is not None or until is not None:
            raise typer.BadParameter("--since and --until are for a webhook, not for one delivery")
        _tried(hub, hub.client.replay_delivery(of, wait=PATIENCE))
        return
    if since is None:
        raise typer.BadParameter("say since when, such as --since 2026-01-31T08:00Z")
    done = hub.client.replay_deliveries(of, since=since, until=until)
    if hub.json:
        hub.put(done)
        return
    hub.say(f"{done.replayed} are sent again.")
    if done.more:
        hub.say("As many wait as may: say it again once these are sent.")


def _tried(hub: Hub, delivery: WholeDelivery) -> None:
    _whole(hub, delivery)
    if delivery.status != "done":
        raise typer.Exit(1)


def _list(hub: Hub, page: DeliveryPage) -> None:
    if hub.json:
        hub.put(page)
        return
    if not page.deliveries:
        hub.say("No deliveries." if page.more is None else "None among the newest 1,000.")
    else:
        rows = [
            (
                one.id,
                Text(one.status, style=STYLES[one.status]),
                one.type,
                one.job_id or "",
                one.time,
                str(one.tries),
                _what(one),
            )
            for one in page.deliveries
        ]
        hub.say(table(("ID", "STATUS", "TYPE", "JOB", "EVENT AT", "TRIES", "LAST"), rows))
    if page.more:
        hub.say(Text(f"More: --cursor {page.more}", style="dim"))


def _what(one: Delivery) -> str:
    """What came of its last try, and when the next one is."""
    last = one.why or ("" if one.last_try is None else _answer(one.last_try))
    return f"{last}; next {one.next_try_at}" if one.next_try_at and one.tries else last


def _answer(one: Try) -> str:
    if one.status is None:
        return one.error or ""
    begun = " ".join(one.response.split())
    return f"{one.status} {begun[:_BEGUN]}".strip()


def _whole(hub: Hub, one: WholeDelivery) -> None:
    if hub.json:
        hub.put(one)
        return
    shown = {
        "id": one.id,
        "status": one.status,
        "type": one.type,
        "webhook": one.webhook_id,
        "url": one.url,
        "job": one.job_id,
        "event at": one.time,
        "next try at": one.next_try_at,
        "ended at": one.ended_at,
        "why": one.why,
    }
    for name, value in shown.items():
        if value is not None:
            style = STYLES[one.status] if name == "status" else ""
            hub.say(Text.assemble((f"{name:>13} ", "dim"), (value, style)))
    rows = [(each.at, f"{each.duration:.3f} s", _answer(each)) for each in one.history]
    hub.say(table(("TRIED AT", "TOOK", "ANSWER"), rows))
    if one.body is not None:
        hub.say(msgspec.json.format(msgspec.json.encode(one.body), indent=2).decode())
