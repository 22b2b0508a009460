"""Every call of the HTTP API about webhooks, described once for all clients, as in
`hub.client.calls`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from msgspec import UNSET, UnsetType

from hub.client.call import Request, Script, call, exchange, request_json, seg, target
from hub.webhooks.shapes import (
    OVERLAP,
    DeliveryPage,
    DeliveryStatus,
    ExampleRequest,
    OwnedWebhook,
    Replayed,
    ReplayRequest,
    RotateRequest,
    Secret,
    WebhookChanges,
    WebhookPage,
    WebhookRequest,
    WholeDelivery,
)

#: The answer to a call that waits may take longer than it waits, in seconds.
ANSWER_SECONDS = 15.0


def create_webhook(
    url: str,
    *,
    session_id: str | None = None,
    types: Sequence[str] | None = None,
    description: str | None = None,
) -> Script[OwnedWebhook]:
    """Registers a webhook of a session (admin), or of all (API keys); the answer has the secret
    that signs its deliveries. Raises BadInput, Conflict when there are too many."""
    body = WebhookRequest(
        url=url,
        session_id=session_id,
        types=None if types is None else list(types),
        description=description,
    )
    return call(request_json("POST", "/webhooks", body), OwnedWebhook, repeatable=False)


def webhooks(
    *,
    session_id: str | None = None,
    disabled: bool | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Script[WebhookPage]:
    """A page of webhooks, newest first, without their secrets; those `disabled`, or those not."""
    chosen = None if disabled is None else str(disabled).lower()
    query = {"session_id": session_id, "disabled": chosen, "limit": limit, "cursor": cursor}
    return call(Request("GET", target("/webhooks", query)), WebhookPage)


def webhook(webhook_id: str) -> Script[OwnedWebhook]:
    """A webhook; with its secret for the credential that registered it. Raises NotFound."""
    return call(Request("GET", f"/webhooks/{seg(webhook_id)}"), OwnedWebhook)


def edit_webhook(
    webhook_id: str,
    *,
    url: str | UnsetType = UNSET,
    types: Sequence[str] | UnsetType | None = UNSET,
    description: str | UnsetType | None = UNSET,
    enabled: bool | UnsetType = UNSET,
) -> Script[OwnedWebhook]:
    """Changes what is given. `types=None` are those of a webhook that names none. `enabled=False`
    stops it, and what waits for it is dead; `enabled=True` starts it again, whyever it was
    stopped. Raises NotFound, BadInput."""
    body = WebhookChanges(
        url=url,
        types=list(types) if types is not UNSET and types is not None else types,
        description=description,
        enabled=enabled,
    )
    return call(request_json("PATCH", f"/webhooks/{seg(webhook_id)}", body), OwnedWebhook)


def rotate_webhook(webhook_id: str, *, overlap: float = OVERLAP) -> Script[OwnedWebhook]:
    """Gives a webhook another secret, which the answer has; those before go on signing beside it
    for `overlap` seconds, 7 days at most. Raises NotFound, Conflict when four older ones sign
    already."""
    body = RotateRequest(overlap=overlap)
    sent = request_json("POST", f"/webhooks/{seg(webhook_id)}/rotate", body)
    return call(sent, OwnedWebhook, repeatable=False)


def delete_webhook(webhook_id: str) -> Script[None]:
    """Forgets a webhook and what waits for it. Raises NotFound."""
    yield from exchange(Request("DELETE", f"/webhooks/{seg(webhook_id)}"), repeatable=False)


def webhook_secret() -> Script[str]:
    """The secret that signs the `webhook_url` of jobs that this API key queued."""
    found = yield from call(Request("GET", "/webhooks/secret"), Secret)
    return found.secret


def send_test(
    webhook_id: str, *, type: str | None = None, wait: float = 20.0
) -> Script[WholeDelivery]:
    """Sends a test, once: `webhook.test`, or an example of an event's type. Returns what came of
    it, or how it is after `wait` seconds (30 at most). Raises NotFound, BadInput, Conflict where
    the webhook is disabled, Busy."""
    return _sends(f"/webhooks/{seg(webhook_id)}/test", ExampleRequest(type=type), wait)


def deliveries(
    webhook_id: str,
    *,
    status: DeliveryStatus | None = None,
    job_id: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Script[DeliveryPage]:
    """A page of a webhook's deliveries, the newest event first. Raises NotFound, BadInput."""
    query = {"status": status, "job_id": job_id, "limit": limit, "cursor": cursor}
    path = target(f"/webhooks/{seg(webhook_id)}/deliveries", query)
    return call(Request("GET", path), DeliveryPage)


def job_deliveries(job_id: str) -> Script[DeliveryPage]:
    """What webhooks were told of a job, its own `webhook_url` too, oldest first (admin). Raises
    NotFound."""
    return call(Request("GET", f"/jobs/{seg(job_id)}/deliveries"), DeliveryPage)


def delivery(delivery_id: str) -> Script[WholeDelivery]:
    """A delivery with its last tries, what was answered, and its body. Raises NotFound."""
    return call(Request("GET", f"/deliveries/{seg(delivery_id)}"), WholeDelivery)


def replay_delivery(delivery_id: str, *, wait: float = 0.0) -> Script[WholeDelivery]:
    """Sends a delivery that ended once more, by the whole schedule, and one that waits now. Returns
    it once it was tried, or as it is after `wait` seconds (30 at most). Raises NotFound, Conflict
    where it is being sent, its body is not kept or its webhook is disabled, Busy."""
    return _sends(f"/deliveries/{seg(delivery_id)}/replay", {}, wait)


def replay_deliveries(
    webhook_id: str, *, since: datetime, until: datetime | None = None
) -> Script[Replayed]:
    """Sends again all that failed of a webhook's events from `since` to `until` (with a time zone;
    now unless said): what is dead, and at once what waits for its next try. Raises NotFound,
    BadInput, Conflict where the webhook is disabled, Busy."""
    body = ReplayRequest(since=since, until=until)
    # Again is harmless, but for the count: what was sent has failed no more.
    return call(request_json("POST", f"/webhooks/{seg(webhook_id)}/replay", body), Replayed)


def _sends(path: str, body: object, wait: float) -> Script[WholeDelivery]:
    sent = request_json("POST", target(path, {"wait": f"{wait:g}"}), body)
    patient = Request(sent.method, sent.target, sent.body, sent.headers, wait + ANSWER_SECONDS)
    return call(patient, WholeDelivery, repeatable=False)
