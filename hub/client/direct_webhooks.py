"""Webhooks for back ends beside Redis: the calls of `hub.client.webhook_calls` without a hub.

Hubs alone send: a test, or what is sent again, waits for one that runs."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import datetime
from typing import TypeVar

import msgspec
from msgspec import UNSET, Struct, UnsetType

from hub.decode import decode
from hub.fields import WORDS
from hub.jobs import Job
from hub.principal import Principal
from hub.webhooks.desk import DeliveryDesk
from hub.webhooks.registry import Registry
from hub.webhooks.shapes import (
    OVERLAP,
    DeliveryPage,
    DeliveryStatus,
    OwnedWebhook,
    Replayed,
    RotateRequest,
    WebhookChanges,
    WebhookPage,
    WebhookRequest,
    WholeDelivery,
)

T = TypeVar("T")
S = TypeVar("S", bound=Struct)


def plain(value: T) -> T:
    """The same struct as a client decodes it: JSON parts as objects instead of bytes."""
    return msgspec.json.decode(msgspec.json.encode(value), type=type(value))


def checked(asked: S) -> S:
    """A request as a hub would have decoded it. Raises BadInput naming each field that does not
    fit."""
    return decode(msgspec.json.encode(asked), type(asked), WORDS)


class DirectWebhooks(ABC):
    """What `Jobs` does with webhooks. Those that it registers are its own: it sees their secrets.
    Every call raises SettingsError without the secret of the hubs, from which those of webhooks
    are made."""

    _principal: Principal

    @abstractmethod
    def _registry(self) -> Registry:
        """The webhooks."""

    @abstractmethod
    def _desk(self) -> DeliveryDesk:
        """Their deliveries."""

    @abstractmethod
    async def _job(self, job_id: str) -> Job:
        """A job. Raises NotFound."""

    async def create_webhook(
        self,
        url: str,
        *,
        session_id: str | None = None,
        types: Sequence[str] | None = None,
        description: str | None = None,
    ) -> OwnedWebhook:
        """Registers a webhook of a session, or of all. Raises BadInput, Conflict when there are too
        many, Busy."""
        wanted = WebhookRequest(
            url=url,
            session_id=session_id,
            types=None if types is None else list(types),
            description=description,
        )
        return await self._registry().register(self._principal, checked(wanted))

    async def webhooks(
        self,
        *,
        session_id: str | None = None,
        disabled: bool | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> WebhookPage:
        """A page of webhooks, as `Client.webhooks`. Raises BadInput."""
        return await self._registry().page(
            self._principal, session_id=session_id, disabled=disabled, limit=limit, cursor=cursor
        )

    async def webhook(self, webhook_id: str) -> OwnedWebhook:
        """A webhook; with its secret where it is this back end's. Raises NotFound."""
        return await self._registry().get(self._principal, webhook_id)

    async def edit_webhook(
        self,
        webhook_id: str,
        *,
        url: str | UnsetType = UNSET,
        types: Sequence[str] | UnsetType | None = UNSET,
        description: str | UnsetType | None = UNSET,
        enabled: bool | UnsetType = UNSET,
    ) -> OwnedWebhook:
        """Changes what is given, as `Client.edit_webhook`. Raises NotFound, BadInput."""
        changes = WebhookChanges(
            url=url,
            types=list(types) if types is not UNSET and types is not None else types,
            description=description,
            enabled=enabled,
        )
        return await self._registry().edit(self._principal, webhook_id, checked(changes))

    async def rotate_webhook(self, webhook_id: str, *, overlap: float = OVERLAP) -> OwnedWebhook:
        """Gives a webhook another secret, as `Client.rotate_webhook`. Raises NotFound, BadInput,
        Conflict."""
        asked = checked(RotateRequest(overlap=overlap))
        return await self._registry().rotate(self._principal, webhook_id, asked.overlap)

    async def delete_webhook(self, webhook_id: str) -> None:
        """Forgets a webhook and what waits for it. Raises NotFound."""
        await self._registry().delete(self._principal, webhook_id)

    async def webhook_secret(self) -> str:
        """The secret that signs the `webhook_url` of jobs that this back end queued."""
        return self._registry().secret(self._principal).secret

    async def test_webhook(
        self, webhook_id: str, *, type: str | None = None, wait: float = 20.0
    ) -> WholeDelivery:
        """Has a test sent, once, as `Client.test_webhook`. Raises NotFound, BadInput, Conflict,
        Busy."""
        sent = await self._desk().test(self._principal, webhook_id, type)
        return await self._tried(sent, wait)

    async def deliveries(
        self,
        webhook_id: str,
        *,
        status: DeliveryStatus | None = None,
        job_id: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> DeliveryPage:
        """A page of a webhook's deliveries, the newest event first. Raises NotFound, BadInput."""
        return await self._desk().page(
            self._principal, webhook_id, status=status, job_id=job_id, limit=limit, cursor=cursor
        )

    async def job_deliveries(self, job_id: str) -> DeliveryPage:
        """What webhooks were told of a job, its own `webhook_url` too, oldest first. Raises
        NotFound."""
        return await self._desk().of_job(self._principal, await self._job(job_id))

    async def delivery(self, delivery_id: str) -> WholeDelivery:
        """A delivery with its last tries, what was answered, and its body. Raises NotFound."""
        return plain(await self._desk().get(self._principal, delivery_id))

    async def replay_delivery(self, delivery_id: str, *, wait: float = 0.0) -> WholeDelivery:
        """Has a delivery sent once more, as `Client.replay_delivery`. Raises NotFound,
        Conflict, Busy."""
        sent = await self._desk().replay(self._principal, delivery_id)
        return await self._tried(sent, wait)

    async def replay_deliveries(
        self, webhook_id: str, *, since: datetime, until: datetime | None = None
    ) -> Replayed:
        """Has all sent again that failed of a webhook's events from `since` to `until`. Raises
        NotFound, BadInput, Conflict, Busy."""
        return await self._desk().replay_failed(self._principal, webhook_id, since, until)

    async def _tried(self, sent: WholeDelivery, wait: float) -> WholeDelivery:
        never = asyncio.Event()
        return plain(await self._desk().tried(self._principal, sent.id, wait, never))
