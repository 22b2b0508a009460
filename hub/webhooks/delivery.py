"""Drives deliveries: expands the outbox, sends what is due, records what came of it.

Several hubs may run one each. All that must survive is in Redis: a deliverer that is killed
leaves tries whose leases run out, and they are made again.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import Counter
from importlib.metadata import version
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from hub.scripts import Scripts
from hub.settings import Settings
from hub.webhooks.deliveries import Claim, Deliveries
from hub.webhooks.guard import parse_networks
from hub.webhooks.policy import Verdict, judge
from hub.webhooks.sender import TRY_SECONDS, Outcome, Sender
from hub.webhooks.signing import credential_secret, derive_secret

log = logging.getLogger("jobcast.webhooks")

#: The lease of a try: the rest, once it is over, is for recording it through a short outage.
LEASE: Final = 2 * TRY_SECONDS
#: Tries at once in all; more wait in Redis. A quarter of it is how many endpoints may hang
#: before others wait for them.
AT_ONCE: Final = 256
CLAIM_BATCH: Final = 32
EXPAND_BATCH: Final = 16
#: The longest wait before looking again, for what another hub left behind.
LOOK_AGAIN: Final = 5.0
REDIS_PAUSE: Final = 1.0
#: Results recorded at once: each takes a connection of the pool that the whole hub shares.
RECORDING: Final = 8


class Deliverer:
    """Delivers until it is cancelled or stopped. `counts` counts results by `done`, `retry`,
    `dead`, `stale`, `disabled` and `overflowed`."""

    def __init__(
        self,
        deliveries: Deliveries,
        sender: Sender,
        hub_secret: bytes,
        *,
        at_once: int = AT_ONCE,
        lease: float = LEASE,
        look_again: float = LOOK_AGAIN,
        counts: Counter[str] | None = None,
    ) -> None:
        self._deliveries = deliveries
        self._sender = sender
        self._hub_secret = hub_secret
        self._at_once = at_once
        self._lease = lease
        self._look_again = look_again
        self._in_flight = 0
        self._changed = asyncio.Event()
        self._recording = asyncio.Semaphore(RECORDING)
        self._record_down = _Down("record deliveries")
        self._stopping = False
        self.counts: Counter[str] = Counter() if counts is None else counts

    @property
    def in_flight(self) -> int:
        """How many tries are being made now."""
        return self._in_flight

    def stop(self) -> None:
        """Claims nothing more; `run` returns when the tries in flight are over (≤ 15 s)."""
        self._stopping = True
        self._changed.set()

    async def run(self) -> None:
        """Delivers. Cancelled, it abandons the tries in flight: they are made again when their
        lease is over. An outage of Redis is waited out."""
        async with asyncio.TaskGroup() as group:
            expanding = group.create_task(self._expand())
            await self._claim(group)
            expanding.cancel()

    async def _expand(self) -> None:
        down = _Down("take events off the outbox")
        after = "$"
        while True:
            try:
                taken = await self._deliveries.expand(EXPAND_BATCH)
                after = taken.newest
                down.over()
                if taken.entries:
                    self._changed.set()
                if taken.overflowed:
                    self.counts["overflowed"] += taken.overflowed
                    log.warning(
                        "%d deliveries are dead: too many wait for their webhooks", taken.overflowed
                    )
                if taken.entries < EXPAND_BATCH:
                    await self._deliveries.wait_for_events(after, self._look_again)
            except (RedisError, OSError) as error:
                await down.pause(error)

    async def _claim(self, group: asyncio.TaskGroup) -> None:
        down = _Down("claim deliveries")
        while not self._stopping:
            self._changed.clear()
            room = min(self._at_once - self._in_flight, CLAIM_BATCH)
            wait: float | None = None
            if room > 0:
                claimed_at = time.monotonic()
                try:
                    claimed, wait = await self._deliveries.claim(room, self._lease)
                except (RedisError, OSError) as error:
                    await down.pause(error)
                    continue
                down.over()
                for delivery in claimed:
                    self._in_flight += 1
                    group.create_task(self._try(delivery, claimed_at + self._lease))
            # A finished try or new events end the wait, and so does the next delivery's time.
            seconds = self._look_again if wait is None else min(wait, self._look_again)
            try:
                async with asyncio.timeout(seconds):
                    await self._changed.wait()
            except TimeoutError:
                pass

    async def _try(self, delivery: Claim, until: float) -> None:
        try:
            outcome = await self._send(delivery)
            verdict = judge(outcome.status, delivery.tries + 1, outcome.retry_after, random.uniform)
            if delivery.test and verdict.kind != "done":
                verdict = Verdict("dead")
            while True:
                try:
                    async with self._recording:
                        recorded = await self._deliveries.record(delivery, verdict, outcome)
                    break
                except (RedisError, OSError) as error:
                    if time.monotonic() > until:
                        return
                    await self._record_down.pause(error)
            self._record_down.over()
            self.counts[recorded.state] += 1
            if recorded.state == "dead" and not delivery.test:
                log.warning(
                    "delivery %s to webhook %s is dead: %s",
                    delivery.id,
                    delivery.webhook_id,
                    outcome.error or f"HTTP status {outcome.status}",
                )
            if recorded.disabled:
                self.counts["disabled"] += 1
                log.warning("webhook %s is disabled: %s", delivery.webhook_id, recorded.disabled)
        finally:
            self._in_flight -= 1
            self._changed.set()

    async def _send(self, delivery: Claim) -> Outcome:
        secrets = [
            derive_secret(self._hub_secret, delivery.webhook_id, generation)
            for generation in delivery.generations
        ] or [credential_secret(self._hub_secret, delivery.credential)]
        try:
            return await self._sender.send(delivery.url, delivery.id, delivery.body, secrets)
        except Exception as error:
            # One delivery that nobody foresaw must not stop all others, nor be tried for ever.
            log.exception("delivery %s could not be sent", delivery.id)
            return Outcome(None, f"{type(error).__name__} in the hub")


async def deliver(
    redis: Redis,
    scripts: Scripts,
    settings: Settings,
    draining: asyncio.Event,
    counts: Counter[str] | None = None,
) -> None:
    """Runs a hub's deliverer until `draining` is set and its last tries are over, or until it
    is cancelled; results are added to `counts`. Raises SettingsError for a bad secret or
    `webhook_allow_nets`."""
    hub_secret = settings.checked_secret()
    sender = Sender(
        allow_http=settings.webhook_allow_http,
        allow_nets=parse_networks(settings.webhook_allow_nets),
        connections=AT_ONCE,
        user_agent=f"Jobcast/{version('jobcast')} (webhook)",
    )
    deliverer = Deliverer(Deliveries(redis, scripts), sender, hub_secret, counts=counts)

    async def stop_when_draining() -> None:
        await draining.wait()
        deliverer.stop()

    async with sender, asyncio.TaskGroup() as group:
        watching = group.create_task(stop_when_draining())
        await deliverer.run()
        watching.cancel()


class _Down:
    """Says once that Redis is away and once that it is back, and waits in between."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._is_down = False

    async def pause(self, error: Exception) -> None:
        if not self._is_down:
            log.warning("cannot %s: %s", self._what, error)
            self._is_down = True
        await asyncio.sleep(REDIS_PAUSE)

    def over(self) -> None:
        if self._is_down:
            log.info("can %s again", self._what)
            self._is_down = False
