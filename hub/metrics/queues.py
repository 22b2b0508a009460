"""What Redis knows of queues, workers and jobs. Two round trips, whatever is in it."""

from __future__ import annotations

from typing import Any, Final

from redis.asyncio import Redis

from hub import keys
from hub.metrics.sample import Key, Sample
from hub.metrics.timings import counters
from hub.scripts import text

#: Jobs of a queue that are looked at for the oldest one, and how many of those in earnest.
SCAN: Final = 1_000
OLDEST: Final = 20
#: A queue is a name that somebody chose, and a name is a time series. Past that they are left out.
QUEUES: Final = 200

_TOTALS: Final = {
    "jobcast_jobs_running": keys.RUNNING,
    "jobcast_jobs_waiting": keys.WAITING,
    "jobcast_jobs_delayed": keys.DELAYED,
    "jobcast_jobs_dead": keys.DEAD,
    "jobcast_webhooks_pending": keys.WEBHOOK_NEXT,
}


async def look(redis: Redis, lease: float) -> Sample:
    """The gauges of all queues, and what workers have written of their jobs. `lease` is in
    seconds. Raises what the client raises."""
    # redis-py types every reply as bytes or str or None; ours are bytes.
    client: Any = redis
    seconds, micros = await client.time()
    now = int(seconds) * 1000 + int(micros) // 1000
    names = sorted(text(name) for name in await client.smembers(keys.QUEUES))[:QUEUES]
    paused = {text(name) for name in await client.smembers(keys.PAUSED)}
    reasons = await client.smembers(keys.PARKED)

    pipe = client.pipeline(transaction=False)
    for key in _TOTALS.values():
        pipe.zcard(key)
    pipe.xlen(keys.OUTBOX)
    pipe.zcount(keys.WORKERS, now - int(2000 * lease), "+inf")
    pipe.hgetall(keys.METRICS)
    for reason in reasons:
        pipe.zcard(keys.parked(text(reason)))
    for name in names:
        pipe.zcard(keys.ready(name))
        pipe.zrange(keys.ready(name), 0, SCAN - 1)
    replies = iter(await pipe.execute())

    gauges: dict[Key, float] = {(name,): next(replies) for name in _TOTALS}
    gauges["jobcast_outbox_entries",] = next(replies)
    gauges["jobcast_workers",] = next(replies)
    timings = counters(next(replies))
    gauges["jobcast_jobs_parked",] = sum(next(replies) for _ in reasons)
    oldest: dict[str, list[str]] = {}
    for name in names:
        gauges["jobcast_queue_depth", name] = next(replies)
        gauges["jobcast_queue_paused", name] = int(name in paused)
        # A job's id begins with the time at which it was made.
        oldest[name] = sorted(map(text, next(replies)))[:OLDEST]
    for name, age in (await _ages(client, oldest, now)).items():
        gauges["jobcast_queue_oldest_pending_age_seconds", name] = age
    return Sample(timings, gauges)


async def _ages(client: Any, jobs: dict[str, list[str]], now: int) -> dict[str, float]:
    """By queue, for how many seconds the oldest of these jobs has been due."""
    pipe = client.pipeline(transaction=False)
    for ids in jobs.values():
        for job_id in ids:
            pipe.hmget(keys.job(job_id), "updated_at", "run_at")
    rows = iter(await pipe.execute() if any(jobs.values()) else ())
    found: dict[str, float] = {}
    for name, ids in jobs.items():
        due = [
            max(int(updated), int(run_at or 0))
            for updated, run_at in (next(rows) for _ in ids)
            if updated
        ]
        found[name] = max(0, now - min(due)) / 1000 if due else 0.0
    return found
