"""The registered webhooks, in Redis."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct
from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError

from hub import keys
from hub.errors import BadInput, Busy, Conflict
from hub.jobs import iso
from hub.scripts import Scripts, text
from hub.transitions import names_arg

#: The scope of a webhook that belongs to all sessions.
EVERY: Final = "*"
#: How many webhooks a session, or the scope of all, may have, and how many there may be.
PER_SCOPE: Final = 20
IN_ALL: Final = 10_000
#: How many webhooks one page of a filtered list looks at, at most.
SCAN: Final = 1_000
SCAN_BATCH: Final = 200


class Disabled(Struct):
    """Why and when (ISO 8601) a webhook was disabled: it gets nothing any more."""

    reason: str
    at: str


class Webhook(Struct, kw_only=True):
    """A registered callback. Without `session_id` it belongs to all sessions. `owner` is the
    credential that registered it; `generation` counts its secrets; `failing_since` is when it
    last began to fail without a success in between."""

    id: str
    session_id: str | None
    url: str
    types: list[str]
    description: str | None
    owner: str
    created_at: str
    generation: int
    failing_since: str | None
    disabled: Disabled | None


class WebhookPage(Struct):
    """A page of webhooks, newest first; `more` is the cursor of the next page, or null."""

    webhooks: list[Webhook]
    more: str | None


def new_webhook_id() -> str:
    """A fresh id: `wh_` and 128 random bits."""
    return f"wh_{secrets.token_hex(16)}"


class WebhookStore:
    """Registers, shows and forgets webhooks. The Redis client's replies must be bytes."""

    def __init__(self, redis: Redis, scripts: Scripts) -> None:
        # redis-py types every reply as bytes or str or None; ours are bytes.
        self._redis: Any = redis
        self._scripts = scripts

    async def put(
        self,
        *,
        url: str,
        types: Sequence[str],
        session_id: str | None = None,
        description: str | None = None,
        owner: str,
        webhook_id: str | None = None,
    ) -> Webhook:
        """Registers a webhook whose fields its caller has checked; a repeated `webhook_id` is
        the one that is there. Raises Conflict when there are too many, Busy when Redis is full."""
        fields = {"url": url, "types": names_arg(types), "owner": owner}
        if description is not None:
            fields["description"] = description
        try:
            word, found = await self._scripts.run(
                self._redis,
                "webhook_put",
                webhook_id or new_webhook_id(),
                session_id or EVERY,
                PER_SCOPE,
                IN_ALL,
                *(part for pair in fields.items() for part in pair),
            )
        except OutOfMemoryError:
            raise Busy("Redis has reached its maxmemory: no webhook can be added.") from None
        if word == b"full":
            raise Conflict(f"There are {int(found)} webhooks already: delete one first.")
        return _webhook(dict(zip(found[::2], found[1::2], strict=True)))

    async def get(self, webhook_id: str) -> Webhook | None:
        """One webhook."""
        found = await self._redis.hgetall(keys.webhook(webhook_id))
        return _webhook(found) if found else None

    async def delete(self, webhook_id: str) -> bool:
        """Forgets a webhook and what waits for it. False when there was none."""
        return bool(await self._scripts.run(self._redis, "webhook_delete", webhook_id))

    async def forget_session(self, session_id: str) -> int:
        """Deletes a session's webhooks, so that whoever uses its id next is not overheard.
        Returns how many there were."""
        ids = await self._redis.zrange(keys.webhooks_of(session_id), 0, -1)
        for webhook_id in ids:
            await self.delete(text(webhook_id))
        return len(ids)

    async def page(
        self,
        *,
        session_id: str | None = None,
        allowed: Callable[[Webhook], bool] = lambda _: True,
        limit: int = 50,
        cursor: str | None = None,
    ) -> WebhookPage:
        """A page of the webhooks that are `allowed`, newest first. One call looks at no more
        than 1,000, so that a page may be short and still have `more`. Raises BadInput when the
        cursor is none of ours."""
        index = keys.webhooks_of(session_id) if session_id else keys.WEBHOOKS
        start = await self._after(index, cursor)
        out: list[Webhook] = []
        for first in range(start, start + SCAN, SCAN_BATCH):
            rows = await self._redis.zrevrange(
                index, first, first + SCAN_BATCH - 1, withscores=True
            )
            pipe = self._redis.pipeline(transaction=False)
            for webhook_id, _ in rows:
                pipe.hgetall(keys.webhook(text(webhook_id)))
            found = await pipe.execute() if rows else []
            for place, (row, fields) in enumerate(zip(rows, found, strict=True)):
                if not fields or not allowed(webhook := _webhook(fields)):
                    continue
                out.append(webhook)
                if len(out) == limit:
                    last = place == len(rows) - 1 and len(rows) < SCAN_BATCH
                    return WebhookPage(out, None if last else _cursor(row))
            if len(rows) < SCAN_BATCH:
                return WebhookPage(out, None)
        return WebhookPage(out, _cursor(rows[-1]))

    async def _after(self, index: str, cursor: str | None) -> int:
        if cursor is None:
            return 0
        score, dot, webhook_id = cursor.partition(".")
        if not (dot and score.isascii() and score.isdigit() and len(cursor) <= 64):
            raise BadInput([("/cursor", "must be the `more` of an earlier page")])
        rank = await self._redis.zrevrank(index, webhook_id)
        if rank is not None:
            return int(rank) + 1
        return int(await self._redis.zcount(index, f"({score}", "+inf"))


def _cursor(row: tuple[bytes, float]) -> str:
    return f"{int(row[1])}.{text(row[0])}"


def _webhook(fields: Mapping[bytes, bytes]) -> Webhook:
    def maybe(name: bytes) -> str | None:
        value = fields.get(name)
        return None if value is None else text(value)

    def moment(name: bytes) -> str | None:
        value = fields.get(name)
        return None if value is None else iso(int(value))

    scope = text(fields[b"scope"])
    disabled_at = moment(b"disabled_at")
    return Webhook(
        id=text(fields[b"id"]),
        session_id=None if scope == EVERY else scope,
        url=text(fields[b"url"]),
        types=text(fields[b"types"]).strip(",").split(","),
        description=maybe(b"description"),
        owner=text(fields[b"owner"]),
        created_at=iso(int(fields[b"created_at"])),
        generation=int(fields[b"generation"]),
        failing_since=moment(b"failing_since"),
        disabled=Disabled(maybe(b"disabled_reason") or "", disabled_at) if disabled_at else None,
    )
