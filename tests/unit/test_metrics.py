"""The arithmetic of metrics, and that the documents name what there is."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from hub.events import Publication
from hub.feed import Batch, Subscriber
from hub.flow import Flow
from hub.histogram import LONG, Histogram
from hub.metrics.board import Board
from hub.metrics.catalogue import HUB, METRICS
from hub.metrics.exposition import expose
from hub.metrics.sample import Sample, observed
from hub.metrics.timings import PICKUP, RUN, RUNS, Timings, counters

DOCS = Path(__file__).parents[2] / "docs"


def families(sample: Sample) -> dict[str, dict[tuple[str, ...], float]]:
    """What a scraper reads: by sample name, values by labels in the order of their names."""
    body, media_type = expose(sample, "")
    assert media_type.startswith("text/plain")
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(body.decode()):
        for one in family.samples:
            key = tuple(value for _, value in sorted(one.labels.items()))
            found.setdefault(one.name, {})[key] = one.value
    return found


@given(st.lists(st.floats(0, 10_000)))
def test_a_histogram_counts_each_once_below_its_bound(values: list[float]) -> None:
    histogram = Histogram((0.1, 1.0, 10.0))
    for value in values:
        histogram.observe(value)
    below = [sum(value <= bound for value in values) for bound in (0.1, 1.0, 10.0)]
    assert [sum(histogram.counts[: n + 1]) for n in range(3)] == below
    assert sum(histogram.counts) == len(values)
    assert histogram.total == pytest.approx(sum(values))


def test_a_histogram_as_scrapers_read_it() -> None:
    histogram = Histogram((0.1, 1.0))
    for value in (0.05, 0.5, 0.6, 7):
        histogram.observe(value)
    found = families(Sample(observed("jobcast_hub_probe_seconds", histogram)))
    assert found["jobcast_hub_probe_seconds_bucket"] == {("0.1",): 1, ("1",): 3, ("+Inf",): 4}
    assert found["jobcast_hub_probe_seconds_count"] == {(): 4}
    assert found["jobcast_hub_probe_seconds_sum"] == {(): pytest.approx(8.15)}


def test_openmetrics_where_that_is_asked_for() -> None:
    body, media_type = expose(
        Sample({("jobcast_hub_lags_total",): 3}), "application/openmetrics-text"
    )
    assert media_type.startswith("application/openmetrics-text")
    assert b"jobcast_hub_lags_total 3.0" in body
    assert body.endswith(b"# EOF\n")


def test_labels_are_escaped() -> None:
    name = 'a"b\\c\nd'
    assert families(Sample({}, {("jobcast_queue_depth", name): 2}))["jobcast_queue_depth"] == {
        (name,): 2
    }


# ---------------------------------------------------------------- several processes


def test_a_board_adds_up_and_no_sum_falls(tmp_path: Path) -> None:
    count, gauge = ("jobcast_hub_lags_total",), ("jobcast_hub_sessions",)
    one, two = Board(tmp_path, 0), Board(tmp_path, 1)
    two.post(Sample({count: 5}, {gauge: 2}))
    assert one.total(Sample({count: 1}, {gauge: 3})) == Sample({count: 6}, {gauge: 5})
    # The second is killed; its successor begins at nothing, and goes on where it stopped.
    again = Board(tmp_path, 1)
    assert again.total(Sample({count: 0}, {gauge: 0})) == Sample({count: 6}, {gauge: 3})
    assert again.total(Sample({count: 2}, {gauge: 1})) == Sample({count: 8}, {gauge: 4})
    assert one.total(Sample({count: 1}, {gauge: 3})) == Sample({count: 8}, {gauge: 4})


def test_a_dead_process_has_no_gauges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000.0
    monkeypatch.setattr("hub.metrics.board.time.monotonic", lambda: now)
    one, two = Board(tmp_path, 0), Board(tmp_path, 1)
    two.post(Sample({("c",): 5}, {("g",): 2}))
    now += 60
    assert one.total(Sample({("c",): 1}, {("g",): 1})) == Sample({("c",): 6}, {("g",): 1})


def test_where_nothing_can_be_written_a_process_still_tells_its_own(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    board = Board(tmp_path / "gone", 0)
    assert board.total(Sample({("c",): 1}, {("g",): 2})) == Sample({("c",): 1}, {("g",): 2})
    assert "cannot share metrics" in caplog.text


def test_one_process_alone_needs_no_files() -> None:
    board = Board()
    assert not board.shared
    assert board.total(Sample({("c",): 1}, {("g",): 2})) == Sample({("c",): 1}, {("g",): 2})


# ---------------------------------------------------------------- what workers write


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 9_000), st.floats(0, 9_000))))
def test_timings_survive_the_way_through_redis(runs: list[tuple[str, float, float]]) -> None:
    timings = Timings()
    stored: dict[bytes, bytes] = {}

    def write() -> None:
        for field, more in timings.take().items():
            was = int(stored.get(field.encode(), b"0"))
            stored[field.encode()] = b"%d" % (was + more)

    for number, (task, waited, took) in enumerate(runs):
        timings.claimed(task, waited)
        timings.ended(task, "completed", took)
        if number % 3 == 0:
            write()
    write()
    assert timings.take() == {}
    found = counters(stored)
    for task in "ab":
        mine = [run for run in runs if run[0] == task]
        if not mine:
            assert not any(task in key for key in found)
            continue
        assert found[RUNS, task, "completed"] == len(mine)
        for name, place in ((PICKUP, 1), (RUN, 2)):
            expected = Histogram(LONG)
            for run in mine:
                expected.observe(float(run[place]))
            for key, value in observed(name, expected, task).items():
                assert found[key] == pytest.approx(value, abs=1e-3), key


def test_fields_that_are_none_of_ours_are_passed_over() -> None:
    stored = {
        b"nonsense": b"1",
        b"jobcast_job_run_seconds t 7": b"1",
        b"x y z": b"1",
        b"\xff": b"1",
    }
    assert counters(stored) == {}


# ---------------------------------------------------------------- what passes through


class Nowhere:
    """An outlet that is never used."""


def publication(kind: str, body: bytes = b"{}") -> Publication:
    return Publication(kind, body, key=b"j")  # type: ignore[arg-type]


def subscriber(state: str, job: bytes | None = None) -> Subscriber:
    made = Subscriber("s", Nowhere(), job=job)  # type: ignore[arg-type]
    made.state = state  # type: ignore[assignment]
    return made


def test_what_a_lagging_subscriber_misses_is_counted_by_class() -> None:
    flow = Flow()
    batch = Batch([publication("P"), publication("P"), publication("G"), publication("L")])
    others = [subscriber("lagging"), subscriber("lagging", b"j"), subscriber("lagging", b"k")]
    # A starting one misses nothing: its hello brings all of it.
    flow.missed(batch, [*others, subscriber("starting")])
    assert flow.passed_over == {"P": 4, "G": 2}
    flow.sent(batch, 1_000)
    assert flow.delivered == {"P": 2_000, "G": 1_000, "L": 1_000}


def test_the_age_of_an_event_is_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hub.flow.time.time", lambda: 1_795_000_000.0)
    flow = Flow()
    flow.measure(publication("P", b'{"type":"job.progress","data":{}}'), 0)
    flow.measure(publication("P", b'{"type":"job.progress","time":"nonsense"}'), 0)
    assert flow.sample
    assert sum(flow.pubsub_lag.counts) == 0
    # 2026-11-18T11:06:40Z is 1,795,000,000; Redis's clock is 200 ms ahead of ours.
    body = b'{"type":"job.progress","time":"2026-11-18T11:06:40.150Z","data":{}}'
    flow.measure(publication("P", body), 200)
    assert not flow.sample
    assert flow.pubsub_lag.total == pytest.approx(0.05)


# ---------------------------------------------------------------- documents


def rows() -> dict[str, tuple[str, set[str], str]]:
    row = re.compile(r"^\| `(jobcast_\w+)` \| (\w+) \|([^|]*)\| (.*) \|$", re.M)
    return {
        name: (kind, set(re.findall(r"`(\w+)`", labels)), meaning)
        for name, kind, labels, meaning in row.findall((DOCS / "metrics.md").read_text())
    }


def test_the_document_has_every_metric_as_it_is() -> None:
    assert rows() == {
        metric.name: (metric.kind, set(metric.labels), metric.meaning) for metric in METRICS
    }


def test_metrics_are_named_as_prometheus_wants_them() -> None:
    for metric in METRICS:
        assert re.fullmatch(r"jobcast_[a-z_]+", metric.name)
        assert metric.name.endswith("_total") == (metric.kind == "counter")
        assert metric.kind != "histogram" or metric.name.endswith("_seconds")
        assert not any(metric.name.endswith(word) for word in ("_count", "_sum", "_ms"))
        assert metric.meaning.endswith(".")


def test_the_dashboard_asks_for_metrics_and_labels_that_there_are() -> None:
    dashboard = json.loads((DOCS / "grafana.json").read_text())
    known = {metric.name: metric for metric in METRICS}
    asked: set[str] = set()
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            expression = target["expr"]
            names = {
                name.removesuffix("_bucket") for name in re.findall(r"jobcast_\w+", expression)
            }
            asked |= names
            labels = {"le", "instance"}.union(*(known[name].labels for name in names))
            for group in re.findall(r"by \(([\w, ]+)\)", expression):
                assert set(group.split(", ")) <= labels, expression
            assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= labels, expression
    assert asked == set(known)
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


def test_what_is_of_a_hub_says_so_in_its_name() -> None:
    assert all(m.name.startswith(("jobcast_hub_", "jobcast_webhook")) for m in HUB)
