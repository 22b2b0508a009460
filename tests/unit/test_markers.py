"""Lines by which a command tells its progress and its result."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.markers import Progress, Result, read_marker


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("::jobcast progress 3/6 Copying files", Progress(3, 6, "Copying files")),
        ("::jobcast progress 0/6", Progress(0, 6, None)),
        ("::jobcast progress 6/6 ", Progress(6, 6, None)),
        ("::jobcast progress 45% Half way, nearly", Progress(45, None, "Half way, nearly")),
        ("::jobcast progress 99.5%\r", Progress(99.5, None, None)),
        ('::jobcast result {"a": [1]}', Result({"a": [1]})),
        ("::jobcast result null", Result(None)),
    ],
)
def test_markers(line: str, told: Progress | Result) -> None:
    assert read_marker(line) == told


@pytest.mark.parametrize(
    "line",
    [
        "",
        "::jobcast",
        " ::jobcast progress 1/2",
        "::jobcast progress",
        "::jobcast progress 3/0",
        "::jobcast progress 7/6",
        "::jobcast progress -1/6",
        "::jobcast progress 101%",
        "::jobcast progress 1/2Copying",
        "::jobcast progress ٣/٦",
        "::jobcast result",
        "::jobcast result {",
        "::jobcast result " + "[" * 5000,
        "::github progress 1/2",
    ],
)
def test_what_is_malformed_is_only_a_line(line: str) -> None:
    assert read_marker(line) is None


@given(st.text())
def test_no_line_does_any_harm(text: str) -> None:
    for line in (text, f"::jobcast progress {text}", f"::jobcast result {text}"):
        told = read_marker(line)
        if isinstance(told, Progress):
            assert 0 <= told.current <= (told.total or 100)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(VALUES)
def test_any_json_is_a_result(value: object) -> None:
    assert read_marker(f"::jobcast result {json.dumps(value)}") == Result(value)
