"""Who may have which webhook: checks requests, and shows secrets to their owners alone."""

from __future__ import annotations

import re
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from hub.auth import Principal
from hub.errors import BadInput, NotFound, Refused
from hub.events import WEBHOOK_DEFAULT_TYPES
from hub.fields import SessionId
from hub.settings import Settings
from hub.states import STATUSES
from hub.webhooks.guard import URL_CHARS, check_url, parse_networks
from hub.webhooks.guard import Refused as UrlRefused
from hub.webhooks.signing import credential_secret, derive_secret
from hub.webhooks.store import Webhook, WebhookPage, WebhookStore

#: What a webhook may ask for: the lifecycle events that have a job to send.
WEBHOOK_TYPES: Final = tuple(f"job.{status}" for status in STATUSES)
_ID: Final = re.compile(r"wh_[0-9a-f]{32}")


class WebhookRequest(Struct, kw_only=True, forbid_unknown_fields=True):
    """A webhook to be registered. Without `session_id` it gets the events of all sessions, which
    is for API keys only; without `types` it gets the endings and `job.input_required`."""

    url: Annotated[str, Meta(max_length=URL_CHARS, description="https://, to a public address.")]
    session_id: SessionId | None = None
    types: (
        Annotated[
            list[str],
            Meta(
                min_length=1,
                max_length=len(WEBHOOK_TYPES),
                description="Some of: " + " ".join(WEBHOOK_TYPES),
            ),
        ]
        | None
    ) = None
    description: Annotated[str, Meta(min_length=1, max_length=256)] | None = None


class OwnedWebhook(Webhook, kw_only=True):
    """A webhook with the secret that signs its deliveries; null for those who do not own it."""

    secret: str | None


class Secret(Struct):
    """The secret that signs one-off webhooks (`webhook_url`) of jobs that this API key queued."""

    secret: str


class Registry:
    """Webhooks as callers may see and change them. API keys see all; the scope `admin` sees
    those of sessions, and nobody else sees any. Raises SettingsError for a bad
    `webhook_allow_nets` or secret."""

    def __init__(self, store: WebhookStore, settings: Settings) -> None:
        self._store = store
        self._hub_secret = settings.checked_secret()
        self._allow_http = settings.webhook_allow_http
        self._allow_nets = parse_networks(settings.webhook_allow_nets)

    async def register(self, principal: Principal, request: WebhookRequest) -> OwnedWebhook:
        """Registers a webhook of the caller. Raises Refused, BadInput with a pointer for each
        field, and what `WebhookStore.put` raises."""
        if request.session_id is not None:
            principal.require("admin", request.session_id)
        elif not principal.is_key:
            raise Refused("A webhook of all sessions needs an API key: name a session_id.")
        errors: list[tuple[str, str]] = []
        try:
            check_url(request.url, allow_http=self._allow_http, allow_nets=self._allow_nets)
        except UrlRefused as error:
            errors.append(("/url", str(error)))
        types = WEBHOOK_DEFAULT_TYPES if request.types is None else tuple(request.types)
        for index, kind in enumerate(types):
            if kind not in WEBHOOK_TYPES:
                errors.append((f"/types/{index}", "must be one of: " + " ".join(WEBHOOK_TYPES)))
        if errors:
            raise BadInput(errors)
        webhook = await self._store.put(
            url=request.url,
            types=[kind for kind in WEBHOOK_TYPES if kind in types],
            session_id=request.session_id,
            description=request.description,
            owner=principal.credential,
        )
        return self._owned(principal, webhook)

    async def page(
        self,
        principal: Principal,
        *,
        session_id: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> WebhookPage:
        """The webhooks that the caller may see, newest first, without secrets. Raises Refused,
        and BadInput when the cursor is none of ours."""
        principal.require("admin", session_id)
        return await self._store.page(
            session_id=session_id,
            allowed=lambda webhook: _may_see(principal, webhook),
            limit=limit,
            cursor=cursor,
        )

    async def get(self, principal: Principal, webhook_id: str) -> OwnedWebhook:
        """One webhook, with its secret for its owner. Raises Refused and NotFound."""
        principal.require("admin")
        webhook = await self._store.get(webhook_id) if _ID.fullmatch(webhook_id) else None
        if webhook is None or not _may_see(principal, webhook):
            raise NotFound(f"There is no webhook {webhook_id[:64]}.")
        return self._owned(principal, webhook)

    async def delete(self, principal: Principal, webhook_id: str) -> None:
        """Forgets a webhook and what waits for it. Raises as `get`."""
        await self.get(principal, webhook_id)
        await self._store.delete(webhook_id)

    def secret(self, principal: Principal) -> Secret:
        """The secret of the caller's one-off webhooks. Raises Refused for tokens, whose jobs
        have none."""
        if not principal.is_key:
            raise Refused("The secret of webhook_url is for API keys, as webhook_url is.")
        return Secret(credential_secret(self._hub_secret, principal.credential))

    def _owned(self, principal: Principal, webhook: Webhook) -> OwnedWebhook:
        secret = None
        if webhook.owner == principal.credential:
            secret = derive_secret(self._hub_secret, webhook.id, webhook.generation)
        return OwnedWebhook(**msgspec.structs.asdict(webhook), secret=secret)


def _may_see(principal: Principal, webhook: Webhook) -> bool:
    if webhook.session_id is None:
        return principal.is_key
    return principal.may("admin", webhook.session_id)
