"""Every metric: its name, kind, labels and meaning, in one place."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

Kind = Literal["counter", "gauge", "histogram"]


class Metric(NamedTuple):
    """One metric. The name of a counter ends in `_total`."""

    name: str
    kind: Kind
    meaning: str
    labels: tuple[str, ...] = ()


#: Of the hub's processes that share a port, added up.
HUB: Final = (
    Metric("jobcast_hub_processes", "gauge", "Processes of this hub that answered lately."),
    Metric(
        "jobcast_hub_ready",
        "gauge",
        "Processes of this hub that hear what Redis publishes, as /readyz says.",
    ),
    Metric("jobcast_hub_cpu_seconds_total", "counter", "CPU time, user and system."),
    Metric(
        "jobcast_hub_resident_memory_bytes", "gauge", "Resident memory; 0 on systems without /proc."
    ),
    Metric("jobcast_hub_event_loop_lag_seconds", "histogram", "How late a timer of 0.25 s ran."),
    Metric("jobcast_hub_connections", "gauge", "Open event streams.", ("kind",)),
    Metric(
        "jobcast_hub_subscribers",
        "gauge",
        "Subscriptions; the state is starting, live or lagging.",
        ("kind", "state"),
    ),
    Metric("jobcast_hub_sessions", "gauge", "Sessions whose channel is subscribed in Redis."),
    Metric("jobcast_hub_unsent_bytes", "gauge", "Bytes that wait for slow subscribers."),
    Metric(
        "jobcast_hub_handshakes_total",
        "counter",
        "Event streams that were opened, refused ones included.",
        ("kind",),
    ),
    Metric(
        "jobcast_hub_handshake_failures_total",
        "counter",
        "Event streams that were closed before a credential was accepted, by close code.",
        ("kind", "code"),
    ),
    Metric(
        "jobcast_hub_closed_streams_total",
        "counter",
        "Event streams that the hub closed, by close code; 0 is a job's stream at its end.",
        ("kind", "code"),
    ),
    Metric(
        "jobcast_hub_auth_failures_total",
        "counter",
        "Credentials that were missing, bad or expired, on any call.",
        ("reason",),
    ),
    Metric(
        "jobcast_hub_refused_origins_total",
        "counter",
        "Requests and upgrades refused with 403 for their Origin or Host.",
    ),
    Metric(
        "jobcast_hub_events_received_total",
        "counter",
        "Events that Redis published to this hub.",
        ("class",),
    ),
    Metric(
        "jobcast_hub_deliveries_total",
        "counter",
        "Events that were handed to subscribers: one for each event and subscriber.",
        ("class",),
    ),
    Metric(
        "jobcast_hub_coalesced_total",
        "counter",
        "Progress that a lagging subscriber was not sent, since a later one is.",
    ),
    Metric(
        "jobcast_hub_skipped_total",
        "counter",
        "Log events that a lagging subscriber was not sent: a job.log_gap stands for them.",
    ),
    Metric("jobcast_hub_lags_total", "counter", "Times that a live subscriber began to lag."),
    Metric(
        "jobcast_hub_resumes_total",
        "counter",
        "Hellos: replayed from a cursor, a snapshot in spite of a cursor, or fresh without one.",
        ("outcome",),
    ),
    Metric(
        "jobcast_hub_pubsub_lag_seconds",
        "histogram",
        "From an event's time to its arrival, sampled; to the millisecond.",
    ),
    Metric(
        "jobcast_hub_probe_seconds",
        "histogram",
        "Round trips of the probe through Redis pub/sub.",
    ),
    Metric("jobcast_hub_pubsub_reconnects_total", "counter", "Pub/sub connections that were lost."),
    Metric(
        "jobcast_hub_top_checks_total",
        "counter",
        "Comparisons of a session's last event with Redis.",
    ),
    Metric(
        "jobcast_hub_top_check_repairs_total",
        "counter",
        "Of these, those that found events missing which Redis had published.",
    ),
    Metric(
        "jobcast_hub_mended_total", "counter", "Sessions put in order again after a gap or doubt."
    ),
    Metric(
        "jobcast_webhook_tries_total",
        "counter",
        "Tries to deliver, by result: done, retry, dead or stale.",
        ("result",),
    ),
    Metric(
        "jobcast_webhooks_disabled_total", "counter", "Webhooks disabled for 410 or for failing."
    ),
    Metric(
        "jobcast_webhook_overflows_total",
        "counter",
        "Deliveries dead at once, since too many waited for their webhook.",
    ),
)

#: Read from Redis at each scrape: the same from every hub.
SHARED: Final = (
    Metric("jobcast_queue_depth", "gauge", "Jobs that may be claimed now.", ("queue",)),
    Metric(
        "jobcast_queue_oldest_pending_age_seconds",
        "gauge",
        "For how long the oldest of them has waited; 0 for an empty queue.",
        ("queue",),
    ),
    Metric("jobcast_queue_paused", "gauge", "1 while the queue hands out nothing.", ("queue",)),
    Metric("jobcast_jobs_running", "gauge", "Jobs under a lease."),
    Metric("jobcast_jobs_waiting", "gauge", "Jobs that ask a person and hold no lease."),
    Metric("jobcast_jobs_delayed", "gauge", "Jobs that are not due yet."),
    Metric("jobcast_jobs_parked", "gauge", "Jobs blocked by a limit or an unknown task."),
    Metric("jobcast_jobs_dead", "gauge", "Failed jobs that are kept."),
    Metric("jobcast_workers", "gauge", "Workers heard of within two leases."),
    Metric("jobcast_outbox_entries", "gauge", "Events that wait to become deliveries."),
    Metric("jobcast_webhooks_pending", "gauge", "Webhooks that have something to be sent."),
    Metric(
        "jobcast_job_pickup_seconds",
        "histogram",
        "From being due to being claimed.",
        ("task",),
    ),
    Metric(
        "jobcast_job_run_seconds",
        "histogram",
        "From a claim to its end, time spent waiting for people included.",
        ("task",),
    ),
    Metric(
        "jobcast_job_runs_total",
        "counter",
        "Ends of claims, by the status that the job has afterwards; lost where it was taken away.",
        ("task", "status"),
    ),
)

METRICS: Final = (*HUB, *SHARED)
