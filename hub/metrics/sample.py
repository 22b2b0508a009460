"""What one process has counted so far, as numbers that can be added up."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct, field

from hub.histogram import Histogram

if TYPE_CHECKING:
    from hub.services import Services

#: A metric's name and the values of its labels. Of a histogram: also the bound, `+Inf` or `sum`.
Key = tuple[str, ...]

SUM: Final = "sum"
ABOVE: Final = "+Inf"
#: The classes of events by the letter in their header.
CLASSES: Final = {"L": "lifecycle", "P": "progress", "G": "log"}
_STATES: Final = ("starting", "live", "lagging")
_KINDS: Final = ("websocket", "sse")


class Sample(Struct):
    """`counters` only grow, and include histograms; `gauges` say how it is now."""

    counters: dict[Key, float] = field(default_factory=dict)
    gauges: dict[Key, float] = field(default_factory=dict)

    def add(self, other: Sample) -> None:
        """Adds another one's numbers to these."""
        merge(self.counters, other.counters)
        merge(self.gauges, other.gauges)


def merge(into: dict[Key, float], more: Mapping[Key, float]) -> None:
    """Adds numbers up by key."""
    for key, value in more.items():
        into[key] = into.get(key, 0) + value


def observed(name: str, histogram: Histogram, *labels: str) -> dict[Key, float]:
    """A histogram as counters: one for each bound (not cumulative), and the sum."""
    bounds = [*(f"{bound:g}" for bound in histogram.bounds), ABOVE]
    counts: dict[Key, float] = {
        (name, *labels, bound): count for bound, count in zip(bounds, histogram.counts, strict=True)
    }
    return {**counts, (name, *labels, SUM): histogram.total}


def take(services: Services) -> Sample:
    """This process's sample."""
    fanout, streams = services.fanout, services.streams
    flow, counts = fanout.flow, fanout.counts
    open_streams, subscribers = streams.census()
    counters: dict[Key, float] = {
        ("jobcast_hub_cpu_seconds_total",): time.process_time(),
        ("jobcast_hub_refused_origins_total",): services.origins.refused,
        ("jobcast_hub_coalesced_total",): flow.passed_over["P"],
        ("jobcast_hub_skipped_total",): flow.passed_over["G"],
        ("jobcast_hub_lags_total",): counts["lagged"],
        ("jobcast_hub_pubsub_reconnects_total",): counts["reconnects"],
        ("jobcast_hub_top_checks_total",): flow.checked,
        ("jobcast_hub_top_check_repairs_total",): flow.repaired,
        ("jobcast_hub_mended_total",): counts["mended"],
        ("jobcast_webhooks_disabled_total",): services.webhook_results["disabled"],
        ("jobcast_webhook_overflows_total",): services.webhook_results["overflowed"],
        **_each("jobcast_hub_handshakes_total", streams.opened, _KINDS),
        **_each("jobcast_hub_handshake_failures_total", streams.rejected),
        **_each("jobcast_hub_closed_streams_total", streams.closed),
        **_each(
            "jobcast_hub_auth_failures_total", services.auth.failures, ("missing", "bad", "expired")
        ),
        **_each("jobcast_hub_resumes_total", flow.resumes, ("replayed", "snapshot", "fresh")),
        **_each(
            "jobcast_webhook_tries_total",
            services.webhook_results,
            ("done", "retry", "dead", "stale"),
            only=True,
        ),
        **observed("jobcast_hub_event_loop_lag_seconds", services.loop_lag.histogram),
        **observed("jobcast_hub_pubsub_lag_seconds", flow.pubsub_lag),
        **observed("jobcast_hub_probe_seconds", flow.probes),
    }
    for letter, name in CLASSES.items():
        counters["jobcast_hub_events_received_total", name] = flow.received[letter]
        counters["jobcast_hub_deliveries_total", name] = flow.delivered[letter]
    gauges: dict[Key, float] = {
        ("jobcast_hub_processes",): 1,
        ("jobcast_hub_ready",): int(fanout.healthy and not services.draining.is_set()),
        ("jobcast_hub_resident_memory_bytes",): _resident(),
        ("jobcast_hub_sessions",): fanout.sessions,
        ("jobcast_hub_unsent_bytes",): streams.unsent,
    }
    for kind in _KINDS:
        gauges["jobcast_hub_connections", kind] = open_streams[kind]
        for state in _STATES:
            gauges["jobcast_hub_subscribers", kind, state] = subscribers[kind, state]
    return Sample(counters, gauges)


def _each(
    name: str, counts: Counter[Any], known: Iterable[str] = (), *, only: bool = False
) -> dict[Key, float]:
    """A counter by its labels. What has not happened yet is 0 where it is `known`, so that its
    first time is an increase; `only` leaves out what is not."""
    found: dict[Key, float] = {(name, label): counts[label] for label in known}
    if not only:
        for label, value in counts.items():
            found[(name, *label) if isinstance(label, tuple) else (name, label)] = value
    return found


def _resident() -> float:
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0.0
