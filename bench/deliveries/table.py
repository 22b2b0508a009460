"""The figures as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TextIO

from bench.deliveries.figures import Figures
from bench.deliveries.systems import SYSTEMS

_VARIANTS: Final = {
    "own sessions": "a session each",
    "greeted": "subscribed and greeted",
}


def write(figures: Figures, sizes: Sequence[int], out: TextIO) -> None:
    """Writes a table for each measure that there are figures of, and what became of events."""
    for name, table in (
        ("fanout", _fanout),
        ("latency", _latency),
        ("handshakes", _handshakes),
        ("idle", _idle),
        ("storm", _storm),
        ("single", _single),
        ("stalled", _stalled),
    ):
        if figures.values.get(name):
            out.write("\n" + table(figures, sizes) + "\n")
    tally = figures.tally
    out.write(
        f"\n{tally.delivered:,} deliveries checked: {tally.lost:,} lost, {tally.doubled:,} twice."
        f" Rounds: {figures.rounds}.\n"
    )
    for key, why in figures.missing.items():
        out.write(f"\nLeft out: {SYSTEMS[key].label} ({why}).\n")
    for what in figures.failed:
        out.write(f"\nFailed: {what}\n")


def _rows(head: str, rows: Sequence[Sequence[str]]) -> str:
    columns = head.count("|") - 1
    lines = [head, "|---" * columns + "|", *("| " + " | ".join(row) + " |" for row in rows)]
    return "\n".join(lines)


def _label(system: str) -> str:
    key, _, variant = system.partition(", ")
    return SYSTEMS[key].label + (f", {_VARIANTS[variant]}" if variant else "")


def _shown(value: float | None, form: Callable[[float], str]) -> str:
    return "–" if value is None else form(value)


def _count(value: float) -> str:
    return f"{value / 1000:,.0f}k" if value >= 10_000 else f"{value:,.0f}"


def _times(value: float) -> str:
    return f"{value:.2f}"


def _ms(value: float) -> str:
    return f"{value * 1000:,.1f}"


def _fanout(figures: Figures, sizes: Sequence[int]) -> str:
    measure = "fanout"
    at = " · ".join(f"{size:,}" for size in sizes)

    def cells(system: str, name: str, form: Callable[[float], str]) -> str:
        found = (figures.median(measure, system, f"{name} {size}") for size in sizes)
        return " · ".join(_shown(value, form) for value in found)

    def ratios(system: str, name: str, base: str) -> str:
        found = (figures.ratio(measure, system, f"{name} {size}", base) for size in sizes)
        return " · ".join(_shown(value, _times) for value in found)

    rows = []
    for system in figures.systems(measure):
        us = [figures.median(measure, system, f"one {size} us") for size in sizes]
        ten = [figures.median(measure, system, f"ten {size} us") for size in sizes]
        rows.append(
            [
                _label(system),
                cells(system, "one", _count),
                " · ".join(_shown(value, lambda v: f"{v:.1f}") for value in us),
                ratios(system, "one", "c"),
                ratios(system, "one", "textbook"),
                cells(system, "ten", _count),
                " · ".join(_shown(value, _times) for value in ten),
                ratios(system, "ten", "c"),
                ratios(system, "ten", "textbook"),
            ]
        )
    head = (
        f"| deliveries a second and core at {at} subscribers | one event a turn | CPU µs each "
        "| × C | × textbook | bursts of ten | CPU µs each | × C | × textbook |"
    )
    return _rows(head, rows)


def _latency(figures: Figures, _: Sequence[int]) -> str:
    rows = []
    for system in figures.systems("latency"):
        for name in ("60%", "50", "100", "1000"):
            rate = figures.median("latency", system, f"{name} rate")
            if rate is None:
                continue
            values = [figures.median("latency", system, f"{name} {q}") for q in ("p50", "p99")]
            most = figures.median("latency", system, f"{name} max")
            cpu = figures.median("latency", system, f"{name} cpu")
            rows.append(
                [
                    _label(system),
                    "60 % load" if name == "60%" else f"{int(name):,} events/s",
                    f"{rate:,.0f}",
                    *(_shown(value, _ms) for value in (*values, most)),
                    _shown(cpu, lambda v: f"{100 * v:.0f} %"),
                ]
            )
    text = _rows(
        "| publish in Redis → 1,000 clients | asked for | events/s held | p50 ms | p99 ms "
        "| longest ms | of the core |",
        rows,
    )
    same = figures.ratio("latency", "jobcast", "100 p99", "textbook")
    if same is not None:
        text += f"\n\np99 at 100 events/s, × the textbook's in the same round: {same:.2f}."
    ours = figures.median("latency", "jobcast", "1000 p99")
    theirs = figures.median("latency", "textbook", "50 p99")
    if ours is not None and theirs:
        text += f" At 1,000 events/s, × the textbook's at 50: {ours / theirs:.2f}."
    return text


def _handshakes(figures: Figures, _: Sequence[int]) -> str:
    rows = [
        [
            _label(system),
            _shown(figures.median("handshakes", system, "by_cpu"), _count),
            _shown(figures.median("handshakes", system, "wall"), _count),
            _shown(figures.ratio("handshakes", system, "by_cpu", "c"), _times),
            _shown(figures.ratio("handshakes", system, "by_cpu", "textbook"), _times),
        ]
        for system in figures.systems("handshakes")
    ]
    return _rows("| handshakes | a second and core | a second | × C | × textbook |", rows)


def _idle(figures: Figures, _: Sequence[int]) -> str:
    rows = []
    for system in figures.systems("idle"):
        each = figures.median("idle", system, "bytes")
        whole = figures.median("idle", system, "whole")
        rows.append(
            [
                _label(system),
                _shown(each, lambda v: f"{v / 1024:.1f}"),
                _shown(whole, lambda v: f"{v / 2**20:,.0f}"),
            ]
        )
    return _rows("| 10,000 idle connections | KiB resident each | MiB in all |", rows)


def _storm(figures: Figures, _: Sequence[int]) -> str:
    names = ("seconds", "cpu", "greeted")
    found = [figures.median("storm", "jobcast", name) for name in names]
    memory = [figures.median("storm", "jobcast", name) for name in ("resident", "peak")]
    snapshots = figures.median("storm", "jobcast", "snapshots")
    return _rows(
        "| 10,000 clients cut, each missing 100 events | s until the last is whole | CPU s "
        "| s until the last hello | MiB before | MiB at most | snapshots |",
        [
            [
                _label("jobcast"),
                *(_shown(value, lambda v: f"{v:.2f}") for value in found),
                *(_shown(value, lambda v: f"{v / 2**20:,.0f}") for value in memory),
                _shown(snapshots, lambda v: f"{v:.0f}"),
            ]
        ],
    )


def _single(figures: Figures, _: Sequence[int]) -> str:
    wall, by_cpu, after, published = (
        figures.median("single", "jobcast", name)
        for name in ("wall", "by_cpu", "after", "published")
    )
    return _rows(
        "| each event to one of 1,000 subscribers | published a second | delivered a second "
        "| a second and core | ms from the last publish to the last delivery |",
        [
            [
                _label("jobcast"),
                _shown(published, _count),
                _shown(wall, _count),
                _shown(by_cpu, _count),
                _shown(after, lambda v: f"{v * 1000:,.0f}"),
            ]
        ],
    )


def _stalled(figures: Figures, _: Sequence[int]) -> str:
    rate, each, ratio = (
        figures.median("stalled", "jobcast", name) for name in ("rate", "each", "ratio")
    )
    cells = [
        _shown(figures.median("stalled", "jobcast", f"{who} {q}"), _ms)
        for who in ("alone", "beside")
        for q in ("p50", "p99")
    ]
    return _rows(
        "| 800 clients at 60 % load for 30 s | events/s | alone: p50 ms | p99 ms "
        "| beside 200 that do not read: p50 ms | p99 ms | p99 × alone "
        "| KiB of the hub for each that does not |",
        [
            [
                _label("jobcast"),
                _shown(rate, _count),
                *cells,
                _shown(ratio, _times),
                _shown(each, lambda v: f"{v / 1024:.1f}"),
            ]
        ],
    )
