"""Steps that tests of webhooks are made of."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from redis.asyncio import Redis

from hub import keys
from hub.jobs import NewJob
from hub.store import Store
from hub.transitions import Transitions
from hub.webhooks.deliveries import Deliveries
from hub.webhooks.delivery import Deliverer
from hub.webhooks.sender import Sender
from hub.webhooks.shapes import Webhook
from hub.webhooks.signing import derive_secret
from tests.conftest import SECRET, wait_until
from tests.receiver import answer

HUB_SECRET = SECRET.encode()
OK = answer("200 OK")
ENDINGS = ["job.completed", "job.failed", "job.cancelled"]


@asynccontextmanager
async def delivering(
    deliveries: Deliveries, sender: Sender, **options: Any
) -> AsyncIterator[Deliverer]:
    deliverer = Deliverer(
        deliveries, sender, HUB_SECRET, **{"look_again": 0.05, "lease": 20.0, **options}
    )
    task = asyncio.create_task(deliverer.run())
    try:
        yield deliverer
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def ended_job(store: Store, transitions: Transitions, session: str, **fields: Any) -> str:
    """A job that a worker completed."""
    new = NewJob(session_id=session, task="t", **fields)
    job_id = (await store.enqueue(new)).job.id
    (claim,) = await transitions.claim(
        "w1", job_id, queues=["default"], tasks=["t"], lease=15, limit=1
    )
    await transitions.finish(claim.job_id, claim.token, "completed", b'{"passed":47,"a":[]}')
    return job_id


async def make_due(redis: Redis) -> None:
    """Lets the time of every waiting delivery come."""
    client: Any = redis
    for key in [key async for key in client.scan_iter(match=keys.deliveries("due", "*"))]:
        for member in await client.zrange(key, 0, -1):
            await client.zadd(key, {member: 1}, xx=True)
        await client.zadd(keys.WEBHOOK_NEXT, {key.split(b":")[-1]: 1}, xx=True)


# One script, since deliverers write meanwhile.
PLACES = """
local out = {}
for i, state in ipairs({'due', 'flight', 'done', 'dead'}) do
  for _, key in ipairs(redis.call('KEYS', KEYS[1] .. 'webhook_' .. state .. ':*')) do
    for _, id in ipairs(redis.call('ZRANGE', key, 0, -1)) do
      out[#out + 1] = state .. ' ' .. id
    end
  end
end
return {out, redis.call('KEYS', KEYS[1] .. 'delivery:*')}
"""


async def states(redis: Redis) -> Counter[str]:
    """How many deliveries are due, in flight, done and dead; each must be in one place."""
    client: Any = redis
    places, hashes = await client.eval(PLACES, 1, keys.PREFIX)
    found = [place.decode().split(" ") for place in places]
    ids = sorted(delivery_id for _, delivery_id in found)
    assert ids == sorted(key.decode().removeprefix(keys.delivery("")) for key in hashes)
    return Counter(state for state, _ in found)


async def settled(redis: Redis, **wanted: int) -> None:
    async def reached() -> bool:
        return await states(redis) == wanted

    await wait_until(reached, f"deliveries are {wanted}")


def secret_of(webhook: Webhook) -> str:
    return derive_secret(HUB_SECRET, webhook.id, webhook.generation)
