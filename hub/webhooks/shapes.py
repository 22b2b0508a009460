"""What callers ask of webhooks and are answered, as structs: they decode requests, make
`/openapi.json`, and are what `hub.client` returns. No I/O."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, Literal, get_args

from msgspec import UNSET, Meta, Struct, UnsetType

from hub.fields import JobId, Limit, SessionId
from hub.jobs import Json
from hub.states import STATUSES
from hub.webhooks.guard import URL_CHARS

#: What a webhook may ask for: the lifecycle events that have a job to send.
WEBHOOK_TYPES: Final = tuple(f"job.{status}" for status in STATUSES)
#: The type of a test that names no other.
TEST_TYPE: Final = "webhook.test"
#: How long the secrets before a rotation go on signing unless said, and at most, in seconds.
OVERLAP: Final = 86_400
MAX_OVERLAP: Final = 7 * 86_400
#: How long a call waits for a try, in seconds: a try takes 15 at most.
MAX_WAIT: Final = 30

Url = Annotated[str, Meta(max_length=URL_CHARS, description="https://, to a public address.")]
Types = Annotated[
    list[str],
    Meta(
        min_length=1,
        max_length=len(WEBHOOK_TYPES),
        description="Some of: " + " ".join(WEBHOOK_TYPES),
    ),
]
Description = Annotated[str, Meta(min_length=1, max_length=256)]
DeliveryStatus = Literal["waiting", "sending", "done", "dead"]
DELIVERY_STATUSES: Final = get_args(DeliveryStatus)


# ------------------------------------------------------------------ webhooks


class WebhookRequest(Struct, kw_only=True, forbid_unknown_fields=True):
    """A webhook to be registered. Without `session_id` it gets the events of all sessions, which
    is for API keys only; without `types` it gets the endings and `job.input_required`."""

    url: Url
    session_id: SessionId | None = None
    types: Types | None = None
    description: Description | None = None


class WebhookChanges(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is to be changed of a webhook; absent means unchanged. `types: null` are those of a
    webhook that names none. `enabled: false` stops it, and what waits for it is dead;
    `enabled: true` starts it again, whyever it was stopped."""

    url: Url | UnsetType = UNSET
    types: Types | UnsetType | None = UNSET
    description: Description | UnsetType | None = UNSET
    enabled: bool | UnsetType = UNSET


class RotateRequest(Struct, kw_only=True, forbid_unknown_fields=True):
    """How long the secrets before go on signing beside the new one; 0 ends them at once."""

    overlap: Annotated[float, Meta(ge=0, le=MAX_OVERLAP, description="Seconds.")] = OVERLAP


class Disabled(Struct):
    """Why and when (ISO 8601) a webhook was disabled: it gets nothing any more."""

    reason: str
    at: str


class OlderSecret(Struct):
    """A secret from before a rotation that still signs, until then (ISO 8601)."""

    generation: int
    until: str


class Webhook(Struct, kw_only=True):
    """A registered callback. Without `session_id` it belongs to all sessions. `owner` is the
    credential that registered it; `generation` counts its secrets, and `older` are those that
    sign beside it; `failing_since` is when it last began to fail without a success in between.
    A `disabled` one gets nothing until it is enabled again."""

    id: str
    session_id: str | None
    url: str
    types: list[str]
    description: str | None
    owner: str
    created_at: str
    generation: int
    older: list[OlderSecret]
    failing_since: str | None
    disabled: Disabled | None


class OwnedWebhook(Webhook, kw_only=True):
    """A webhook with the secret that signs its deliveries; null for those who do not own it."""

    secret: str | None


class WebhookPage(Struct):
    """A page of webhooks, newest first; `more` is the cursor of the next page, or null."""

    webhooks: list[Webhook]
    more: str | None


class Secret(Struct):
    """The secret that signs one-off webhooks (`webhook_url`) of jobs that this API key queued."""

    secret: str


# ---------------------------------------------------------------- deliveries


class DeliveriesQuery(Struct, kw_only=True, forbid_unknown_fields=True):
    """Which deliveries of a webhook."""

    status: Annotated[str, Meta(description="One of: " + " ".join(DELIVERY_STATUSES))] | None = None
    job_id: JobId | None = None
    limit: Limit = 50
    cursor: Annotated[str, Meta(max_length=200)] | None = None


class WaitQuery(Struct, kw_only=True, forbid_unknown_fields=True):
    """How long to wait for the first try, in seconds; the answer comes as soon as it is over."""

    wait: Annotated[float, Meta(ge=0, le=MAX_WAIT)] = 0


class ExampleRequest(Struct, kw_only=True, forbid_unknown_fields=True):
    """What is sent: `webhook.test`, or an example of an event of another type. Its job never was,
    and has the metadata `{"test": true}`."""

    type: Annotated[str, Meta(description="One of: " + " ".join(WEBHOOK_TYPES))] | None = None


class ReplayRequest(Struct, kw_only=True, forbid_unknown_fields=True):
    """Of which time: when the events happened, not when they were given up. `until` is now unless
    said."""

    since: Annotated[datetime, Meta(tz=True)]
    until: Annotated[datetime, Meta(tz=True)] | None = None


class Try(Struct, kw_only=True):
    """One try of a delivery: the HTTP status that was answered, or the `error` that left it
    without one; how long it took, in seconds, and how the answer's body began (512 bytes)."""

    at: str
    status: int | None
    error: str | None
    duration: float
    response: str


class Delivery(Struct, kw_only=True):
    """One event on its way to one webhook.

    `waiting` for its next try, `sending` now, `done` once it was answered 2xx, or `dead`. `id` is
    the `webhook-id` of every try; `tries` count from the last replay on; `why` is what made it dead
    where its last try did not. A `test` has no `job_id`. `replayable`: it has ended, and its body
    is kept."""

    id: str
    webhook_id: str
    session_id: str | None
    job_id: str | None
    type: str
    time: str
    status: DeliveryStatus
    tries: int
    replays: int
    test: bool
    next_try_at: str | None
    ended_at: str | None
    why: str | None
    last_try: Try | None
    replayable: bool


class WholeDelivery(Delivery, kw_only=True):
    """A delivery with where it goes, its last 8 tries, oldest first, and the body that is sent:
    null where it is no longer kept."""

    url: str
    history: list[Try]
    body: Json


class DeliveryPage(Struct):
    """A page of deliveries, the newest event first; `more` is the cursor of the next page, or
    null. One call looks at no more than 1,000: a page may be short and still have `more`."""

    deliveries: list[Delivery]
    more: str | None


class Replayed(Struct):
    """How many are sent again. `more`: as many wait as may for this webhook; ask again later."""

    replayed: int
    more: bool = False
