"""Metrics in Prometheus's text format, or OpenMetrics where that is asked for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.core import (
    Metric as Family,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector, CollectorRegistry

from hub.metrics.catalogue import METRICS, Metric
from hub.metrics.sample import ABOVE, SUM, Key, Sample


def expose(sample: Sample, accept: str) -> tuple[bytes, str]:
    """The body and its content type; `accept` is the request's header. What the catalogue does
    not know is left out."""
    registry = CollectorRegistry()
    registry.register(_Collected(sample))
    encode, media_type = choose_encoder(accept)
    return encode(registry), media_type


class _Collected(Collector):
    def __init__(self, sample: Sample) -> None:
        self._values: dict[str, list[tuple[Key, float]]] = defaultdict(list)
        for part in (sample.counters, sample.gauges):
            for (name, *labels), value in part.items():
                self._values[name].append((tuple(labels), value))

    def describe(self) -> Iterable[Family]:
        return ()

    def collect(self) -> Iterator[Family]:
        for metric in METRICS:
            values = sorted(self._values[metric.name])
            if metric.kind == "histogram":
                yield _histogram(metric, values)
                continue
            make = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
            family = make(metric.name, metric.meaning, labels=metric.labels)
            for labels, value in values:
                family.add_metric(labels, value)
            yield family


def _histogram(metric: Metric, values: Iterable[tuple[Key, float]]) -> HistogramMetricFamily:
    family = HistogramMetricFamily(metric.name, metric.meaning, labels=metric.labels)
    by_labels: dict[Key, dict[str, float]] = defaultdict(dict)
    for key, value in values:
        by_labels[key[:-1]][key[-1]] = value
    for labels, found in by_labels.items():
        total = found.pop(SUM, 0.0)
        below = 0.0
        buckets: list[tuple[str, float]] = []
        for bound in sorted(found, key=float):
            below += found[bound]
            buckets.append((bound, below))
        assert buckets[-1][0] == ABOVE
        family.add_metric(labels, buckets, total)
    return family
