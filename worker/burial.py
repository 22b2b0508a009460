"""What becomes of the jobs of a worker that is known to be dead.

A lease is there because nobody can tell from afar whether a worker is dead or only silent. Its
warden can: it has seen the end of the process and of all that this had started.
"""

from __future__ import annotations

from typing import Any, Final

from redis.asyncio import Redis

from hub import keys
from hub.scripts import text
from hub.transitions import Transitions

#: Jobs that are looked at in one round trip.
CHUNK: Final = 500
#: What is left of their leases, in seconds: so little that the next tick takes them.
OVER: Final = -5.0


async def bury(redis: Redis, transitions: Transitions, worker_id: str) -> int:
    """Ends the leases of a dead worker, so that its jobs are lost to it now. Returns how many
    there were. What has been claimed anew is left alone. Raises what the Redis client raises."""
    client: Any = redis
    count = 0
    running = [text(job_id) for job_id in await client.zrange(keys.RUNNING, 0, -1)]
    for start in range(0, len(running), CHUNK):
        pipe = client.pipeline(transaction=False)
        chunk = running[start : start + CHUNK]
        for job_id in chunk:
            pipe.hmget(keys.job(job_id), "worker", "token")
        theirs = [
            (job_id, text(token))
            for job_id, (worker, token) in zip(chunk, await pipe.execute(), strict=True)
            if token is not None and worker is not None and text(worker) == worker_id
        ]
        if theirs:
            statuses = await transitions.heartbeat("", OVER, theirs)
            count += sum(status != "lost" for status in statuses)
    await transitions.goodbye(worker_id)
    return count
