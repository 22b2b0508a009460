"""Deliveries in Redis: from the outbox to a webhook, and what came of each try."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
from redis.asyncio import Redis

from hub import keys
from hub.scripts import Scripts, text
from hub.webhooks.policy import FAILING_FOR, FAILING_GAP, Verdict
from hub.webhooks.sender import Outcome


class Expanded(NamedTuple):
    """What was taken off the outbox: how many entries; `newest` is the id after which to wait
    for more; `overflowed` deliveries are dead at once because too many wait for their webhook."""

    entries: int
    newest: str
    overflowed: int


class Delivery(NamedTuple):
    """A delivery that is claimed for one try. `tries` counts those before this one; `claim` is
    the fencing number. `generation` is None for a one-off, which `credential` signs."""

    id: str
    claim: int
    tries: int
    webhook_id: str
    url: str
    generation: int | None
    credential: str
    body: bytes


class Claimed(NamedTuple):
    """Claimed deliveries, and the seconds until another may be (None: nothing waits)."""

    deliveries: list[Delivery]
    wait: float | None


class Recorded(NamedTuple):
    """`state` is waiting for another try (`retry`), `done`, `dead` or, when the claim was over
    and nothing was written, `stale`. `disabled` is why the webhook was disabled by this, or empty.
    """

    state: str
    disabled: str


class Deliveries:
    """The deliveries' scripts. The Redis client's replies must be bytes. Several hubs may use
    them at once: an entry is expanded once, and a delivery is in one hub's hands at a time."""

    def __init__(self, redis: Redis, scripts: Scripts) -> None:
        self._redis: Any = redis
        self._scripts = scripts

    async def wait_for_events(self, after: str, timeout: float) -> bool:
        """Blocks until the outbox has an entry past `after` or `timeout` seconds are over."""
        found = await self._redis.xread({keys.OUTBOX: after}, count=1, block=int(timeout * 1000))
        return bool(found)

    async def expand(self, limit: int) -> Expanded:
        """Turns up to `limit` outbox entries into deliveries."""
        entries, newest, overflowed = await self._scripts.run(self._redis, "webhook_expand", limit)
        return Expanded(int(entries), text(newest), int(overflowed))

    async def claim(self, limit: int, lease: float) -> Claimed:
        """Claims up to `limit` due deliveries for `lease` seconds, at most 4 per webhook."""
        wait, *rows = await self._scripts.run(
            self._redis, "webhook_claim", limit, int(lease * 1000)
        )
        return Claimed([_delivery(row) for row in rows], None if wait < 0 else wait / 1000)

    async def record(self, delivery: Delivery, verdict: Verdict, outcome: Outcome) -> Recorded:
        """Records what came of a try; a repeat, or a claim that is over, changes nothing."""
        state, disabled = await self._scripts.run(
            self._redis,
            "webhook_record",
            delivery.id,
            delivery.claim,
            verdict.kind,
            int(verdict.delay * 1000),
            verdict.disable,
            "" if outcome.status is None else outcome.status,
            outcome.error,
            int(outcome.duration * 1000),
            int(FAILING_FOR * 1000),
            int(FAILING_GAP * 1000),
        )
        return Recorded(text(state), text(disabled))


def _delivery(row: list[Any]) -> Delivery:
    id_, claim, tries, webhook, url, generation, credential, kind, time, data = row
    # The id, the type and the time have checked charsets; the data is passed on as it is.
    body = b'{"id":"%b","type":"%b","timestamp":"%b","data":%b}' % (id_, kind, time, data)
    once = generation == b""
    return Delivery(
        id=text(id_),
        claim=int(claim),
        tries=int(tries),
        webhook_id=text(webhook),
        url=msgspec.json.decode(bytes(url), type=str) if once else text(url),
        generation=None if once else int(generation),
        credential=text(credential),
        body=body,
    )
