"""Deliveries as they are kept in Redis: listed, shown, sent again, and made as tests."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

import msgspec
from msgspec import Raw
from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError

from hub import keys
from hub.errors import Busy, Conflict, NotFound
from hub.jobs import iso
from hub.scripts import Scripts, text
from hub.webhooks.deliveries import body_of
from hub.webhooks.paging import page_of
from hub.webhooks.shapes import Delivery, DeliveryPage, DeliveryStatus, Replayed, Try, WholeDelivery

#: How many deliveries one call of the script that sends them again looks at.
REPLAY_LOOK: Final = 500
#: How many deliveries of one job to one webhook are looked for among how many of its lifetime.
OF_JOB_LOOK: Final = 1_000
_ORIGIN: Final = re.compile(rb'[a-zA-Z]+://[^/?#"]*')
_TRY: Final = b"try:"
_FIELDS: Final = (
    *("id", "webhook", "session", "job", "type", "time", "state", "tries", "tried", "replays"),
    *("test", "due_at", "ended_at", "why"),
)


def once_id(url: str, credential: str) -> str:
    """What stands for the webhook of jobs' own `webhook_url`s: one for each origin and credential
    (as in webhook_expand.lua)."""
    quoted = msgspec.json.encode(url)
    match = _ORIGIN.match(quoted, 1)
    origin = (match[0] if match else quoted).lower()
    return "once_" + hashlib.sha1(credential.encode() + b" " + origin).hexdigest()


class History:
    """What became of deliveries. The Redis client's replies must be bytes."""

    def __init__(self, redis: Redis, scripts: Scripts) -> None:
        self._redis: Any = redis
        self._scripts = scripts

    async def page(
        self,
        webhook_id: str,
        *,
        status: str | None = None,
        job_id: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> DeliveryPage:
        """A page of a webhook's deliveries, the newest event first. Raises BadInput when the
        cursor is none of ours."""

        async def fetch(ids: Sequence[str]) -> list[Mapping[bytes, bytes] | None]:
            found = await self._read(ids)
            return [
                fields
                if fields
                and (status is None or fields[b"state"] == status.encode())
                and (job_id is None or fields[b"job"] == job_id.encode())
                else None
                for fields in found
            ]

        index = keys.deliveries("all", webhook_id)
        rows, more = await page_of(self._redis, index, fetch, limit=limit, cursor=cursor)
        return DeliveryPage(await self._shown(rows), more)

    async def of_job(
        self, job_id: str, webhook_ids: Sequence[str], since: int, until: int | None
    ) -> list[Delivery]:
        """A job's deliveries to these webhooks, oldest first; its events are of `since` to
        `until` (ms). Of each webhook the oldest 1,000 of that time are looked at."""
        pipe = self._redis.pipeline(transaction=False)
        for webhook_id in webhook_ids:
            index = keys.deliveries("all", webhook_id)
            end = "+inf" if until is None else until
            pipe.zrangebyscore(index, since, end, start=0, num=OF_JOB_LOOK)
        ids = [text(each) for found in await pipe.execute() for each in found]
        rows = [row for row in await self._read(ids) if row and row[b"job"] == job_id.encode()]
        return await self._shown(sorted(rows, key=lambda row: (int(row[b"time"]), row[b"id"])))

    async def credential_of(self, job_id: str) -> str:
        """The credential that queued a job, or ""."""
        return text(await self._redis.hget(keys.job(job_id), "credential") or b"")

    async def get(self, delivery_id: str) -> WholeDelivery | None:
        """One delivery, whole. `url` is empty unless it is a one-off's."""
        fields = await self._redis.hgetall(keys.delivery(delivery_id))
        if not fields:
            return None
        numbers = sorted(int(name[4:]) for name in fields if name.startswith(_TRY))
        history = [_try(fields[b"try:%d" % number]) for number in numbers]
        data = fields.get(b"d")
        shown = _delivery(fields, history[-1] if history else None, data is not None)
        url = fields.get(b"url")
        time = shown.time.encode()
        return WholeDelivery(
            **msgspec.structs.asdict(shown),
            url="" if url is None else msgspec.json.decode(url, type=str),
            history=history,
            body=None if data is None else Raw(body_of(fields[b"id"], fields[b"type"], time, data)),
        )

    async def test(self, webhook_id: str, kind: str, data: bytes) -> str:
        """Makes a delivery that is tried once; `data` is JSON. Returns its id. Raises NotFound,
        Conflict where the webhook is disabled, Busy."""
        delivery_id = f"msg_{secrets.token_hex(20)}"
        try:
            word, *more = await self._scripts.run(
                self._redis, "webhook_test", delivery_id, webhook_id, kind, data
            )
        except OutOfMemoryError:
            raise Busy("Redis has reached its maxmemory: nothing more can be sent.") from None
        _raise_for(text(word), more, f"There is no webhook {webhook_id}.")
        return delivery_id

    async def replay(self, delivery_id: str) -> None:
        """Sends a delivery that ended once more, with the whole schedule before it, and one that
        waits now. Raises NotFound, Conflict where that cannot be, Busy."""
        word, *more = await self._scripts.run(self._redis, "webhook_replay", delivery_id)
        _raise_for(text(word), more, f"There is no delivery {delivery_id}.")

    async def replay_failed(self, webhook_id: str, since: int, until: int) -> Replayed:
        """Sends again all that is dead of the events from `since` to `until` (ms), tests aside,
        and at once what failed and waits for its next try. Raises Conflict where the webhook is
        disabled, Busy where nothing more may wait."""
        replayed, at, full = 0, str(since), False
        while at:
            count, place, *more = await self._scripts.run(
                self._redis, "webhook_replay_failed", webhook_id, at, until, REPLAY_LOOK
            )
            if count < 0:
                _raise_for("disabled", [place], "")
            replayed += count
            at, full = text(place), more == [1]
        if full and not replayed:
            _raise_for("full", [], "")
        return Replayed(replayed, more=full)

    async def _read(self, ids: Sequence[str]) -> list[dict[bytes, bytes]]:
        pipe = self._redis.pipeline(transaction=False)
        for delivery_id in ids:
            pipe.hmget(keys.delivery(delivery_id), _FIELDS)
        out = []
        for values in await pipe.execute() if ids else ():
            named = zip(_FIELDS, values, strict=True)
            row = {name.encode(): value for name, value in named if value is not None}
            out.append(row if b"id" in row else {})
        return out

    async def _shown(self, rows: Sequence[Mapping[bytes, bytes]]) -> list[Delivery]:
        pipe = self._redis.pipeline(transaction=False)
        for row in rows:
            key = keys.delivery(text(row[b"id"]))
            pipe.hget(key, f"try:{text(row.get(b'tried', b'0'))}")
            pipe.hexists(key, "d")
        found = await pipe.execute() if rows else []
        return [
            _delivery(row, None if last is None else _try(last), bool(kept))
            for row, last, kept in zip(rows, found[::2], found[1::2], strict=True)
        ]


def _raise_for(word: str, more: Sequence[bytes], unknown: str) -> None:
    match word:
        case "none":
            raise NotFound(unknown)
        case "sending":
            raise Conflict("The delivery is being sent just now.")
        case "bodiless":
            raise Conflict(
                "The delivery was made, and its body is no longer kept: only of the newest 100 of"
                " a webhook it is."
            )
        case "disabled":
            raise Conflict(
                f"The webhook is disabled: {text(more[0])}. Enable it first: PATCH it with"
                ' {"enabled": true}, or jobcast webhooks edit WEBHOOK --enable.'
            )
        case "full":
            raise Busy("As many deliveries wait for this webhook as may.", 30.0)


def _try(raw: bytes) -> Try:
    return msgspec.json.decode(raw, type=Try)


def _delivery(fields: Mapping[bytes, bytes], last: Try | None, kept: bool) -> Delivery:
    def moment(name: bytes) -> str | None:
        value = fields.get(name)
        return None if value is None else iso(int(value))

    status = cast(DeliveryStatus, text(fields[b"state"]))
    why = fields.get(b"why")
    return Delivery(
        id=text(fields[b"id"]),
        webhook_id=text(fields[b"webhook"]),
        session_id=text(fields[b"session"]) or None,
        job_id=text(fields[b"job"]) or None,
        type=text(fields[b"type"]),
        time=iso(int(fields[b"time"])),
        status=status,
        tries=int(fields[b"tries"]),
        replays=int(fields.get(b"replays", b"0")),
        test=b"test" in fields,
        next_try_at=moment(b"due_at") if status == "waiting" else None,
        ended_at=moment(b"ended_at"),
        why=None if why is None else text(why),
        last_try=last,
        replayable=kept and status in ("done", "dead"),
    )
