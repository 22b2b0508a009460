"""Deliveries as callers may see them and send them again."""

from __future__ import annotations

import asyncio
import re
import time
from datetime import UTC, datetime
from typing import Final

from hub.auth import Principal
from hub.errors import BadInput, NotFound
from hub.jobs import Job
from hub.webhooks.example import example
from hub.webhooks.history import History, once_id
from hub.webhooks.registry import Registry
from hub.webhooks.shapes import (
    DELIVERY_STATUSES,
    TEST_TYPE,
    WEBHOOK_TYPES,
    DeliveryPage,
    Replayed,
    WholeDelivery,
)

_DELIVERY_ID: Final = re.compile(r"msg_[0-9a-f]{40}")
_ONCE_ID: Final = re.compile(r"once_[0-9a-f]{40}")
#: Between two looks at a delivery that somebody waits for: seldom are there any, and they are over
#: soon. The first is short, then each is longer than the one before.
_FIRST_LOOK: Final = 0.05
_LAST_LOOK: Final = 0.5


class DeliveryDesk:
    """The deliveries of webhooks that a caller may see (`Registry`). Those of `webhook_url`s are
    for API keys."""

    def __init__(self, history: History, registry: Registry) -> None:
        self._history = history
        self._registry = registry

    async def page(
        self,
        principal: Principal,
        webhook_id: str,
        *,
        status: str | None = None,
        job_id: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> DeliveryPage:
        """A page of a webhook's deliveries, the newest event first. Raises Refused, NotFound,
        and BadInput when the status is none or the cursor none of ours."""
        if status is not None and status not in DELIVERY_STATUSES:
            raise BadInput([("/status", "must be one of: " + " ".join(DELIVERY_STATUSES))])
        await self._require(principal, webhook_id)
        return await self._history.page(
            webhook_id, status=status, job_id=job_id, limit=limit, cursor=cursor
        )

    async def of_job(self, principal: Principal, job: Job) -> DeliveryPage:
        """A job's deliveries to all webhooks that the caller may see, its `webhook_url` too,
        oldest first. Raises Refused."""
        ids = await self._registry.concerned(principal, job.session_id)
        if job.webhook_url is not None and principal.is_key:
            credential = await self._history.credential_of(job.id)
            ids.append(once_id(job.webhook_url, credential))
        since, until = _ms(job.created_at), _ms(job.finished_at)
        # The event of a change is some ms later at most: the script writes both, by one clock.
        found = await self._history.of_job(job.id, ids, since, until and until + 1_000)
        return DeliveryPage(found, None)

    async def get(self, principal: Principal, delivery_id: str) -> WholeDelivery:
        """One delivery, whole. Raises Refused, and NotFound for one whose webhook the caller may
        not see."""
        principal.require("admin")
        known = _DELIVERY_ID.fullmatch(delivery_id)
        found = await self._history.get(delivery_id) if known else None
        if found is not None:
            try:
                url = await self._require(principal, found.webhook_id)
            except NotFound:
                found = None
        if found is None:
            raise NotFound(f"There is no delivery {delivery_id[:64]}.")
        found.url = found.url or url
        return found

    async def test(
        self, principal: Principal, webhook_id: str, kind: str | None = None
    ) -> WholeDelivery:
        """Sends a test, once. Raises as `get`, BadInput, Conflict where the webhook is disabled,
        Busy."""
        webhook = await self._registry.get(principal, webhook_id)
        if kind is None:
            kind, shown = TEST_TYPE, "job.completed"
        elif kind in WEBHOOK_TYPES:
            shown = kind
        else:
            raise BadInput([("/type", "must be one of: " + " ".join(WEBHOOK_TYPES))])
        data = example(webhook.session_id or "example", shown)
        return await self.get(principal, await self._history.test(webhook_id, kind, data))

    async def replay(self, principal: Principal, delivery_id: str) -> WholeDelivery:
        """Sends a delivery that ended once more, and one that waits now. Raises as `get`, Conflict
        where it is being sent, its body is not kept or its webhook is disabled, Busy."""
        await self.get(principal, delivery_id)
        await self._history.replay(delivery_id)
        return await self.get(principal, delivery_id)

    async def replay_failed(
        self, principal: Principal, webhook_id: str, since: datetime, until: datetime | None = None
    ) -> Replayed:
        """Sends again all that failed of the events of a time: what is dead, and at once what
        waits for its next try. Raises as `page`, BadInput, Conflict where the webhook is disabled,
        Busy."""
        await self._require(principal, webhook_id)
        end = datetime.now(UTC) if until is None else until
        if end < since:
            raise BadInput([("/until", "must not be before since")])
        first, last = (round(each.timestamp() * 1000) for each in (since, end))
        return await self._history.replay_failed(webhook_id, max(first, 0), last)

    async def tried(
        self, principal: Principal, delivery_id: str, seconds: float, over: asyncio.Event
    ) -> WholeDelivery:
        """A delivery that was just sent, once it was tried; or as it is after `seconds`, or when
        `over` is set. Raises as `get`."""
        until = time.monotonic() + seconds
        pause = _FIRST_LOOK
        while True:
            delivery = await self.get(principal, delivery_id)
            left = until - time.monotonic()
            if delivery.tries or delivery.ended_at or left <= 0 or over.is_set():
                return delivery
            try:
                async with asyncio.timeout(min(pause, left)):
                    await over.wait()
            except TimeoutError:
                pause = min(2 * pause, _LAST_LOOK)

    async def _require(self, principal: Principal, webhook_id: str) -> str:
        """The URL of a webhook that the caller may see, "" for one-offs."""
        if _ONCE_ID.fullmatch(webhook_id) and principal.is_key:
            return ""
        return (await self._registry.get(principal, webhook_id)).url


def _ms(moment: str | None) -> int:
    return 0 if moment is None else round(datetime.fromisoformat(moment).timestamp() * 1000)
