"""Every Redis key and channel name, in one place.

All keys of a partition share the hash tag in its prefix, so that a script which is given the
prefix as KEYS[1] may touch any of them on one Cluster slot. There is one partition.
The Lua scripts build the same names by joining the same suffixes to KEYS[1].
"""

from __future__ import annotations

PREFIX = "jc:{p0}:"

TASKS = PREFIX + "tasks"  # hash: task name -> announcement (JSON)
TASKS_REV = PREFIX + "tasks_rev"  # another random number whenever an announcement changes
SESSIONS = PREFIX + "sessions"  # zset: session id by last activity (ms)
JOBS = PREFIX + "jobs"  # zset: every listed job by creation (ms)
DEAD = PREFIX + "dead"  # zset: failed jobs that were not retried, by end (ms)
DELAYED = PREFIX + "delayed"  # zset: by due time (ms)
RUNNING = PREFIX + "running"  # zset: by lease deadline (ms)
WAITING = PREFIX + "waiting"  # zset: asking a person, no lease, by asked time (ms)
EXPIRING = PREFIX + "expiring"  # zset: an index of jobs with expires_in, by expiry (ms)
QUIET = PREFIX + "quiet"  # zset: jobs with stall_after that run, by when they have stalled (ms)
PRUNING = PREFIX + "pruning"  # zset: cancelled jobs whose children are still to be, by when (ms)
PARKED = PREFIX + "parked"  # set: the reasons that have a parked:<reason>
QUEUES = PREFIX + "queues"  # set: every queue name seen
PARKED_FOREIGN = PREFIX + "parked:foreign"  # zset: waits in its own queue, by when it is given up
PAUSED = PREFIX + "paused"  # set: queues that hand out nothing for now
WORKERS = PREFIX + "workers"  # zset: worker id by last heartbeat (ms)
OUTBOX = PREFIX + "outbox"  # stream: events that a webhook wants
HOOKED = PREFIX + "hooked"  # hash: session id or "*" -> ",type,type," wanted by its webhooks
WEBHOOKS = PREFIX + "webhooks"  # zset: webhook id by creation (ms)
WEBHOOK_NEXT = PREFIX + "webhook_next"  # zset: webhooks by when one has something to send (ms)
METRICS = PREFIX + "metrics"  # hash: how long jobs took (hub/metrics/timings.py)
TICK = PREFIX + "tick"  # hash: the tick's leader, its last run, its hold
SCHEDULES = PREFIX + "schedules"  # zset: schedule by its next firing (ms)
SCHEDULE_SPECS = PREFIX + "schedule_specs"  # hash: schedule -> its task, a space, and JSON
CONTROL = PREFIX + "control"  # channel: to workers


def job(job_id: str) -> str:
    """Hash: the truth about one job."""
    return f"{PREFIX}job:{job_id}"


def memo(job_id: str) -> str:
    """Hash: what a rerun of a job need not do again (`answer:<input>`, `step:<name>`)."""
    return f"{PREFIX}memo:{job_id}"


def children(job_id: str) -> str:
    """Zset: the live children of a job by creation (ms)."""
    return f"{PREFIX}children:{job_id}"


def log(job_id: str) -> str:
    """Stream: a job's log; entry ids are `<line>-0`."""
    return f"{PREFIX}log:{job_id}"


def events(session_id: str) -> str:
    """Stream: a session's lifecycle events; entry ids are cursors."""
    return f"{PREFIX}events:{session_id}"


def messages(session_id: str) -> str:
    """Stream: a session's messages; entry ids are the cursors of their events."""
    return f"{PREFIX}messages:{session_id}"


def message_ids(session_id: str) -> str:
    """Zset: message ids by their event's seq, so that a repeated message is one message."""
    return f"{PREFIX}msgids:{session_id}"


def session_jobs(session_id: str) -> str:
    """Zset: a session's jobs by creation (ms)."""
    return f"{PREFIX}jobs:{session_id}"


def active(session_id: str) -> str:
    """Zset: a session's live jobs by creation (ms)."""
    return f"{PREFIX}active:{session_id}"


def live(session_id: str) -> str:
    """Sharded channel: what is published about a session."""
    return f"{PREFIX}live:{session_id}"


def ready(queue: str) -> str:
    """Zset: a queue's claimable jobs by priority and start tag."""
    return f"{PREFIX}ready:{queue}"


def wake(queue: str) -> str:
    """Zset: holds one marker while a queue may have work; idle workers block on it."""
    return f"{PREFIX}wake:{queue}"


def virtual_time(queue: str) -> str:
    """Hash: priority -> start tag of the last job handed out (fair queueing, see prelude.lua)."""
    return f"{PREFIX}vtime:{queue}"


def tags(queue: str, priority: int) -> str:
    """Zset: session id by the start tag of its last job, while that is ahead of virtual time."""
    return f"{PREFIX}tags:{queue}:{priority}"


def unique(session_id: str, key: str) -> str:
    """String: the id of the live job that holds a unique key."""
    return f"{PREFIX}key:{session_id}:{key}"


def idempotency(scope: str, key: str) -> str:
    """String with a TTL of a day: the id of the job that an Idempotency-Key made."""
    return f"{PREFIX}idem:{scope}:{key}"


def foreign(ref: str) -> str:
    """String with a TTL: the id of the job that a ref of somebody else's queue stands for."""
    return f"{PREFIX}foreign:{ref}"


#: Zset with a TTL: refs of somebody else's queue that ended before they were told of, by when (ms).
EARLY = PREFIX + "early"


def early(ref: str) -> str:
    """Hash with a TTL: how a job of somebody else's queue ended of which nobody has told yet."""
    return f"{PREFIX}early:{ref}"


def reply(worker_id: str, queue: str) -> str:
    """String with a TTL: what a worker's last claim (whose first queue this is) was and answered,
    so that a lost reply strands nothing."""
    return f"{PREFIX}reply:{worker_id}:{queue}"


def parked(reason: str) -> str:
    """Zset: jobs blocked for one reason: `task:<name>`, by the time of parking (ms), or
    `limit:<limit>|<queue>` and `limit:<limit>|<queue>|<job above>`, by their place in the queue."""
    return f"{PREFIX}parked:{reason}"


def holders(limit: str) -> str:
    """Set: the leased jobs that count against a limit."""
    return f"{PREFIX}holders:{limit}"


def blocked(limit: str) -> str:
    """Hash: list of jobs that wait for a limit (the reason without `limit:`) -> how many holders
    there must be fewer than."""
    return f"{PREFIX}blocked:{limit}"


def worker(worker_id: str) -> str:
    """Hash: one live worker (name, host, pid, queues, tasks, concurrency)."""
    return f"{PREFIX}worker:{worker_id}"


def sign_in_code(digest: str) -> str:
    """String with a TTL: what a one-time sign-in code (given by its SHA-256) is worth."""
    return f"{PREFIX}code:{digest}"


def webhook(webhook_id: str) -> str:
    """Hash: one registered webhook."""
    return f"{PREFIX}webhook:{webhook_id}"


def webhooks_of(scope: str) -> str:
    """Zset: the webhooks of a session, or of all (`*`), by creation (ms)."""
    return f"{PREFIX}webhooks:{scope}"


def delivery(delivery_id: str) -> str:
    """Hash: one event on its way to one webhook."""
    return f"{PREFIX}delivery:{delivery_id}"


def deliveries(state: str, webhook_id: str) -> str:
    """Zset: a webhook's deliveries that are `due`, in `flight`, `done` or `dead`, by time (ms);
    `all` of them, by the time of their event."""
    return f"{PREFIX}webhook_{state}:{webhook_id}"
