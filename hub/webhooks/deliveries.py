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


class Claim(NamedTuple):
    """A delivery that is claimed for one try. `tries` counts those before this one; `number` is
    the fencing number. `generations` of the webhook's secret sign, newest first; there are none
    for a one-off, which `credential` signs. A `test` is tried once."""

    id: str
    number: int
    tries: int
    webhook_id: str
    url: str
    generations: tuple[int, ...]
    credential: str
    test: bool
    body: bytes


class Claimed(NamedTuple):
    """Claimed deliveries, and the seconds until another may be (None: nothing waits)."""

    deliveries: list[Claim]
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
        return Claimed([_claim(row) for row in rows], None if wait < 0 else wait / 1000)

    async def record(self, delivery: Claim, verdict: Verdict, outcome: Outcome) -> Recorded:
        """Records what came of a try; a repeat, or a claim that is over, changes nothing."""
        state, disabled = await self._scripts.run(
            self._redis,
            "webhook_record",
            delivery.id,
            delivery.number,
            verdict.kind,
            int(verdict.delay * 1000),
            verdict.disable,
            _members(outcome),
            int(FAILING_FOR * 1000),
            int(FAILING_GAP * 1000),
        )
        return Recorded(text(state), text(disabled))


def _claim(row: list[Any]) -> Claim:
    id_, number, tries, webhook, url, generation, credential, kind, time, data, older, test = row
    once = generation == b""
    return Claim(
        id=text(id_),
        number=int(number),
        tries=int(tries),
        webhook_id=text(webhook),
        url=msgspec.json.decode(bytes(url), type=str) if once else text(url),
        generations=() if once else (int(generation), *(int(each) for each in reversed(older))),
        credential=text(credential),
        test=test == b"1",
        body=body_of(id_, kind, time, data),
    )


def body_of(delivery_id: bytes, kind: bytes, time: bytes, data: bytes) -> bytes:
    """What is sent: the id, the type and the time (ISO 8601) have checked charsets, and the data,
    JSON, is passed on as it is."""
    return b'{"id":"%b","type":"%b","timestamp":"%b","data":%b}' % (delivery_id, kind, time, data)


def _members(outcome: Outcome) -> bytes:
    """A try as the members of a JSON object, to which the script adds the time."""
    return msgspec.json.encode(
        {
            "status": outcome.status,
            "error": outcome.error or None,
            "duration": round(outcome.duration, 3),
            "response": outcome.response,
        }
    )[1:-1]
