"""Who may have which webhook: checks requests, and shows secrets to their owners alone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import UNSET

from hub.auth import Principal
from hub.errors import BadInput, NotFound, Refused
from hub.events import WEBHOOK_DEFAULT_TYPES
from hub.scripts import names_arg
from hub.settings import Settings
from hub.webhooks.guard import Refused as UrlRefused
from hub.webhooks.guard import check_url, parse_networks
from hub.webhooks.shapes import (
    OVERLAP,
    WEBHOOK_TYPES,
    OwnedWebhook,
    Secret,
    Webhook,
    WebhookChanges,
    WebhookPage,
    WebhookRequest,
)
from hub.webhooks.signing import credential_secret, derive_secret
from hub.webhooks.store import EVERY, WebhookStore

_ID: Final = re.compile(r"wh_[0-9a-f]{32}")


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
        types = WEBHOOK_DEFAULT_TYPES if request.types is None else tuple(request.types)
        self._check(request.url, types)
        webhook = await self._store.put(
            url=request.url,
            types=_ordered(types),
            session_id=request.session_id,
            description=request.description,
            owner=principal.credential,
        )
        return self._owned(principal, webhook)

    async def edit(
        self, principal: Principal, webhook_id: str, wanted: WebhookChanges
    ) -> OwnedWebhook:
        """Changes what is said. Raises as `get`, and BadInput with a pointer for each field."""
        await self.get(principal, webhook_id)
        url = None if wanted.url is UNSET else wanted.url
        types: Sequence[str] | None = None
        if wanted.types is not UNSET:
            types = WEBHOOK_DEFAULT_TYPES if wanted.types is None else wanted.types
        self._check(url, types or ())
        changes: dict[str, str] = {}
        if url is not None:
            changes["url"] = url
        if types is not None:
            changes["types"] = names_arg(_ordered(types))
        if wanted.description is not UNSET:
            changes["description"] = wanted.description or ""
        enable = None if wanted.enabled is UNSET else wanted.enabled
        why = f"{principal.credential} disabled it"
        return self._found(
            principal, webhook_id, await self._store.edit(webhook_id, changes, enable, why)
        )

    async def rotate(
        self, principal: Principal, webhook_id: str, overlap: float = OVERLAP
    ) -> OwnedWebhook:
        """Gives it another secret; those before go on signing beside it for `overlap` seconds at
        most. Raises as `get`, and Conflict when too many sign already."""
        await self.get(principal, webhook_id)
        return self._found(principal, webhook_id, await self._store.rotate(webhook_id, overlap))

    async def page(
        self,
        principal: Principal,
        *,
        session_id: str | None = None,
        disabled: bool | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> WebhookPage:
        """The webhooks that the caller may see, newest first, without secrets; those that are
        `disabled`, or not. Raises Refused, and BadInput when the cursor is none of ours."""
        principal.require("admin", session_id)
        return await self._store.page(
            session_id=session_id,
            allowed=lambda webhook: (
                _may_see(principal, webhook)
                and (disabled is None or disabled == (webhook.disabled is not None))
            ),
            limit=limit,
            cursor=cursor,
        )

    async def get(self, principal: Principal, webhook_id: str) -> OwnedWebhook:
        """One webhook, with its secret for its owner. Raises Refused and NotFound."""
        principal.require("admin")
        webhook = await self._store.get(webhook_id) if _ID.fullmatch(webhook_id) else None
        return self._found(principal, webhook_id, webhook)

    async def concerned(self, principal: Principal, session_id: str) -> list[str]:
        """The ids of the webhooks that hear of a session, as far as the caller may see them.
        Raises Refused."""
        principal.require("admin", session_id)
        return await self._store.ids_of([session_id, *([EVERY] if principal.is_key else [])])

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

    def _check(self, url: str | None, types: Sequence[str]) -> None:
        errors: list[tuple[str, str]] = []
        if url is not None:
            try:
                check_url(url, allow_http=self._allow_http, allow_nets=self._allow_nets)
            except UrlRefused as error:
                errors.append(("/url", str(error)))
        errors += [
            (f"/types/{index}", "must be one of: " + " ".join(WEBHOOK_TYPES))
            for index, kind in enumerate(types)
            if kind not in WEBHOOK_TYPES
        ]
        if errors:
            raise BadInput(errors)

    def _found(
        self, principal: Principal, webhook_id: str, webhook: Webhook | None
    ) -> OwnedWebhook:
        if webhook is None or not _may_see(principal, webhook):
            raise NotFound(f"There is no webhook {webhook_id[:64]}.")
        return self._owned(principal, webhook)

    def _owned(self, principal: Principal, webhook: Webhook) -> OwnedWebhook:
        secret = None
        if webhook.owner == principal.credential:
            secret = derive_secret(self._hub_secret, webhook.id, webhook.generation)
        return OwnedWebhook(**msgspec.structs.asdict(webhook), secret=secret)


def _ordered(types: Sequence[str]) -> list[str]:
    return [kind for kind in WEBHOOK_TYPES if kind in types]


def _may_see(principal: Principal, webhook: Webhook) -> bool:
    if webhook.session_id is None:
        return principal.is_key
    return principal.may("admin", webhook.session_id)
