"""Output cut into lines, whatever the chunks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.lines import MAX_LINE, LineSplitter

LINE = st.characters(codec="utf-8", exclude_characters="\r\n")


def split(*chunks: bytes, limit: int = MAX_LINE) -> list[str]:
    splitter = LineSplitter(limit)
    lines = [line for chunk in chunks for line in splitter.feed(chunk)]
    return [*lines, *splitter.flush()]


@pytest.mark.parametrize(
    ("chunks", "lines"),
    [
        ([b"a\nb\n"], ["a", "b"]),
        ([b"a\nb"], ["a", "b"]),
        ([b"\n\n"], ["", ""]),
        ([b"a", b"b\nc", b"\n"], ["ab", "c"]),
        ([b"a\r\nb\r", b"\nc"], ["a", "b", "c"]),
        ([b"1%\r2%\r3%\n"], ["1%\r2%\r3%"]),
        (["ä".encode()[:1], "ä".encode()[1:] + b"\n"], ["ä"]),
        ([b"a\xffb\n"], ["a\ufffdb"]),
        ([b"a\0b\x1b[31m\n"], ["a\0b\x1b[31m"]),
        ([], []),
    ],
)
def test_lines(chunks: list[bytes], lines: list[str]) -> None:
    assert split(*chunks) == lines


def test_a_long_line_is_cut_and_says_so() -> None:
    [line, after] = split(b"x" * 1000, b"y" * 1000, b"\nz\n", limit=100)

    assert line == "x" * 60 + " …[1940 more bytes]"
    assert after == "z"


def test_a_line_of_just_the_limit_is_whole() -> None:
    assert split(b"x" * MAX_LINE + b"\n") == ["x" * MAX_LINE]


def test_what_was_overwritten_is_dropped_first() -> None:
    bar = b"".join(b"\r%3d%% done" % n for n in range(101))

    [line] = split(bar, b"\n", limit=100)

    assert line.endswith("100% done")
    assert "more bytes" not in line


def test_a_cut_does_not_split_a_character() -> None:
    [line] = split("ä".encode() * 100 + b"\n", limit=101)

    assert line.startswith("ä" * 30 + " …[")
    assert "\ufffd" not in line


def test_the_limit_has_to_hold_a_marker() -> None:
    with pytest.raises(ValueError, match="at least 64"):
        LineSplitter(10)


@given(st.lists(st.binary(max_size=300)))
def test_no_line_is_too_long(chunks: list[bytes]) -> None:
    for line in split(*chunks, limit=64):
        assert len(line.encode()) <= 64
        assert "\n" not in line


@given(st.text(LINE), st.data())
def test_chunks_do_not_matter(text: str, data: st.DataObject) -> None:
    raw = f"{text}\nsecond\n".encode()
    at = data.draw(st.integers(0, len(raw)))

    assert split(raw[:at], raw[at:]) == split(raw)
    assert split(raw)[-1] == "second"


@given(st.lists(st.text(LINE)))
def test_short_lines_come_through_whole(texts: list[str]) -> None:
    assert split("".join(f"{text}\n" for text in texts).encode()) == texts
