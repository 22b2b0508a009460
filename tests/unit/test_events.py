from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.events import Publication, parse, seq


@given(st.binary(), st.integers(1, 10**9), st.integers(0, 2**48), st.integers(0, 10**6))
def test_a_lifecycle_header(body: bytes, number: int, nonce: int, rev: int) -> None:
    cursor, prev = b"%d-%d" % (number, nonce), b"%d-7" % (number - 1)
    parsed = parse(b"L %b %b job-1 %d\n%b" % (cursor, prev, rev, body))
    assert parsed == Publication("L", body, cursor=cursor, prev=prev, key=b"job-1", rev=rev)
    assert seq(parsed.cursor) == number


def test_the_other_headers() -> None:
    assert parse(b"P j 4\n{}") == Publication("P", b"{}", key=b"j", rev=4)
    assert parse(b"G j 3 9\n{}") == Publication("G", b"{}", key=b"j", first=3, last=9)
    assert parse(b"X -\n") == Publication("X", b"")


@pytest.mark.parametrize("data", [b"", b"L 1-2 0-0 j 1", b"L 1-2\n{}", b"Q a\n", b"P j x\n{}"])
def test_what_is_no_publication(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"publication|invalid literal"):
        parse(data)


@pytest.mark.parametrize("cursor", [b"", b"1", b"-1", b"1-", b"a-b", b"1-2-3", b"1-" + b"9" * 40])
def test_what_is_no_cursor(cursor: bytes) -> None:
    with pytest.raises(ValueError, match="not a cursor"):
        seq(cursor)
