"""RFC 6455 from the other end of a socket: text is UTF-8, however it is cut."""

from __future__ import annotations

import pytest

from tests.integration.transport.raw import (
    BINARY,
    CONT,
    TEXT,
    WORDS,
    Raw,
    close,
    ends_well,
    frame,
)

VALID = [
    WORDS,
    b"\x00",
    b"\x7f",
    "\u0080\u07ff\u0800\ud7ff\ue000\ufffd\uffff\U00010000\U0010ffff".encode(),
    "\ufeff\u200b\u2028".encode(),
    "😀👩‍👩‍👧".encode(),
]
INVALID = [
    b"\x80",
    b"\xbf\xbf",
    b"\xc0\xaf",
    b"\xc1\xbf",
    b"\xc3",
    b"\xe0\x80\xaf",
    b"\xe0\x9f\xbf",
    b"\xed\xa0\x80",
    b"\xed\xbf\xbf",
    b"\xed\xa0\x80\xed\xb0\x80",
    b"\xe2\x82",
    b"\xf0\x8f\xbf\xbf",
    b"\xf4\x90\x80\x80",
    b"\xf5\x80\x80\x80",
    b"\xf8\x88\x80\x80\x80",
    b"\xfc\x84\x80\x80\x80\x80",
    b"\xfe",
    b"\xff",
    "κόσμε".encode() + b"\xed\xa0\x80edited",
]


@pytest.mark.parametrize("text", VALID)
def test_text_is_utf8(client: Raw, text: bytes) -> None:
    client.send(frame(TEXT, text))
    assert client.frame() == (TEXT, text)
    # And however it is cut: code points may be split between fragments.
    last = len(text) - 1
    for split in range(len(text)):
        client.send(frame(TEXT, text[:split], fin=False), frame(CONT, text[split:]))
        assert client.frame() == (TEXT, text)
    single = [
        frame(CONT if index else TEXT, text[index : index + 1], fin=index == last)
        for index in range(len(text))
    ]
    client.send(*single)
    assert client.frame() == (TEXT, text)
    ends_well(client)


@pytest.mark.parametrize("text", INVALID)
@pytest.mark.parametrize("how", ["whole", "halves", "bytes"])
def test_what_is_no_utf8_fails(client: Raw, text: bytes, how: str) -> None:
    size = {"whole": len(text), "halves": max(1, len(text) // 2), "bytes": 1}[how]
    parts = [text[start : start + size] for start in range(0, len(text), size)]
    client.send(
        *[
            frame(CONT if index else TEXT, part, fin=index == len(parts) - 1)
            for index, part in enumerate(parts)
        ]
    )
    assert client.closed() == 1007


def test_what_is_no_utf8_fails_before_the_message_ends(client: Raw) -> None:
    client.send(frame(TEXT, "κόσμε".encode(), fin=False), frame(CONT, b"\xf4\x90", fin=False))
    assert client.closed() == 1007


def test_a_split_code_point_that_is_never_finished_fails(client: Raw) -> None:
    client.send(frame(TEXT, b"\xce", fin=False), frame(CONT, b""))
    assert client.closed() == 1007


def test_binary_may_be_anything(client: Raw) -> None:
    client.send(frame(BINARY, b"\xff\xfe"), frame(BINARY, b"\xc3", fin=False), frame(CONT, b"("))
    assert client.frame() == client.frame() == (BINARY, b"?")
    ends_well(client)


@pytest.mark.parametrize("reason", INVALID[:6])
def test_a_reason_is_utf8(client: Raw, reason: bytes) -> None:
    client.send(close(1000, reason))
    assert client.closed() == 1007
