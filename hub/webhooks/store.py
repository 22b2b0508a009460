"""The registered webhooks, in Redis."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError

from hub import keys
from hub.errors import Busy, Conflict
from hub.jobs import iso
from hub.scripts import Scripts, names_arg, text
from hub.webhooks.paging import page_of
from hub.webhooks.shapes import Disabled, OlderSecret, Webhook, WebhookPage

#: The scope of a webhook that belongs to all sessions.
EVERY: Final = "*"
#: How many webhooks a session, or the scope of all, may have, and how many there may be.
PER_SCOPE: Final = 20
IN_ALL: Final = 10_000
#: How many older secrets of a webhook may sign beside its own.
OLDER: Final = 4


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
        return _webhook(_pairs(found))

    async def get(self, webhook_id: str) -> Webhook | None:
        """One webhook."""
        found = await self._redis.hgetall(keys.webhook(webhook_id))
        return _webhook(found) if found else None

    async def ids_of(self, scopes: Sequence[str]) -> list[str]:
        """The ids of the webhooks of these scopes, each a session or `*`: 20 a scope at most."""
        found: list[str] = []
        for scope in scopes:
            ids = await self._redis.zrange(keys.webhooks_of(scope), 0, -1)
            found += [text(webhook_id) for webhook_id in ids]
        return found

    async def delete(self, webhook_id: str) -> bool:
        """Forgets a webhook and what waits for it. False when there was none."""
        return bool(await self._scripts.run(self._redis, "webhook_delete", webhook_id))

    async def forget_session(self, session_id: str) -> int:
        """Deletes a session's webhooks, so that whoever uses its id next is not overheard.
        Returns how many there were."""
        ids = await self.ids_of([session_id])
        for webhook_id in ids:
            await self.delete(webhook_id)
        return len(ids)

    async def edit(
        self, webhook_id: str, changes: Mapping[str, str], enable: bool | None, why: str
    ) -> Webhook | None:
        """Sets fields of its hash, "" for none; enables it, or disables it for the reason `why`.
        None when there is none. What waits for a webhook that is disabled is dead then."""
        found = await self._scripts.run(
            self._redis,
            "webhook_edit",
            webhook_id,
            "" if enable is None else int(enable),
            why,
            *(part for pair in changes.items() for part in pair),
        )
        return _webhook(_pairs(found)) if found else None

    async def rotate(self, webhook_id: str, overlap: float) -> Webhook | None:
        """Gives it another secret; the ones before go on signing for `overlap` seconds at most.
        None when there is none. Raises Conflict when four older ones sign already."""
        word, *found = await self._scripts.run(
            self._redis, "webhook_rotate", webhook_id, int(overlap * 1000), OLDER
        )
        if word == b"full":
            raise Conflict(
                f"{OLDER} older secrets still sign, the first until {iso(int(found[0]))}: rotate"
                " after that, or with an overlap of 0, which ends them all at once."
            )
        return _webhook(_pairs(found[0])) if found else None

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

        async def fetch(ids: Sequence[str]) -> list[Webhook | None]:
            pipe = self._redis.pipeline(transaction=False)
            for webhook_id in ids:
                pipe.hgetall(keys.webhook(webhook_id))
            found = [_webhook(fields) if fields else None for fields in await pipe.execute()]
            return [hook if hook is not None and allowed(hook) else None for hook in found]

        index = keys.webhooks_of(session_id) if session_id else keys.WEBHOOKS
        return WebhookPage(*await page_of(self._redis, index, fetch, limit=limit, cursor=cursor))


def _pairs(flat: Sequence[bytes]) -> dict[bytes, bytes]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


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
        older=_older(fields.get(b"older", b"")),
        failing_since=moment(b"failing_since"),
        disabled=Disabled(maybe(b"disabled_reason") or "", disabled_at) if disabled_at else None,
    )


def _older(packed: bytes) -> list[OlderSecret]:
    now = time.time() * 1000
    pairs = (each.split(":") for each in text(packed).split())
    return [OlderSecret(int(one), iso(int(till))) for one, till in pairs if int(till) > now]
