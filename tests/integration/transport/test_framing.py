"""RFC 6455 from the other end of a socket: frames, control frames, bits and fragments."""

from __future__ import annotations

import pytest

from tests.integration.transport.raw import (
    BINARY,
    CLOSE,
    CONT,
    PING,
    PONG,
    TEXT,
    WORDS,
    Raw,
    ends_well,
    frame,
)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 128, 65_535, 65_536])
@pytest.mark.parametrize("piece", [0, 997])
def test_text_of_any_size_comes_back(client: Raw, size: int, piece: int) -> None:
    text = b"*" * size
    client.send(frame(TEXT, text), piece=piece)
    assert client.frame() == (TEXT, text)
    ends_well(client)


def test_a_message_may_come_a_byte_at_a_time(client: Raw) -> None:
    client.send(frame(TEXT, WORDS * 5), frame(PING, b"p"), piece=1)
    assert client.frame() == (TEXT, WORDS * 5)
    assert client.frame() == (PONG, b"p")
    ends_well(client)


@pytest.mark.parametrize("size", [0, 125, 126, 65_536])
def test_binary_is_told_from_text(client: Raw, size: int) -> None:
    client.send(frame(BINARY, b"\xff" * size))
    assert client.frame() == (BINARY, b"?")
    ends_well(client)


def test_many_messages_in_one_segment_are_answered_in_order(client: Raw) -> None:
    client.send(*[frame(TEXT, b"%d" % number) for number in range(1_000)])
    for number in range(1_000):
        assert client.frame() == (TEXT, b"%d" % number)
    ends_well(client)


def test_what_is_awaited_keeps_its_place(client: Raw) -> None:
    client.send(frame(TEXT, b"1"), frame(TEXT, b"later"), frame(TEXT, b"2"), frame(PING, b"3"))
    got = [client.frame() for _ in range(4)]
    assert got == [(TEXT, b"1"), (TEXT, b"later"), (TEXT, b"2"), (PONG, b"3")]
    ends_well(client)


@pytest.mark.parametrize(("size", "wide"), [(0, 2), (125, 2), (0, 8), (126, 8), (65_535, 8)])
def test_a_length_must_be_as_short_as_can_be(client: Raw, size: int, wide: int) -> None:
    client.send(frame(TEXT, b"*" * size, wide=wide))
    assert client.closed() == 1002


def test_a_length_with_its_highest_bit_set_is_wrong(client: Raw) -> None:
    client.send(b"\x81\xff" + b"\xff" * 8 + b"mask")
    assert client.closed() == 1002


@pytest.mark.parametrize("length", [65_537, 2**31, 2**63 - 1])
def test_what_is_too_long_is_refused_by_its_head(client: Raw, length: int) -> None:
    client.send(b"\x81\xff" + length.to_bytes(8, "big") + b"mask")
    assert client.closed() == 1009


def test_fragments_that_are_too_long_together_are_refused(client: Raw) -> None:
    client.send(frame(TEXT, b"*" * 65_000, fin=False), frame(CONT, b"*" * 537))
    assert client.closed() == 1009


@pytest.mark.parametrize("opcode", [TEXT, BINARY, CONT, PING, CLOSE])
def test_a_frame_that_is_not_masked_fails(client: Raw, opcode: int) -> None:
    client.send(frame(opcode, b"", masked=False))
    assert client.closed() == 1002


@pytest.mark.parametrize("payload", [b"", b"hello", bytes(range(0, 250, 2)), b"\xfe" * 125])
@pytest.mark.parametrize("piece", [0, 1])
def test_a_ping_is_answered_with_its_payload(client: Raw, payload: bytes, piece: int) -> None:
    client.send(frame(PING, payload), piece=piece)
    assert client.frame() == (PONG, payload)
    ends_well(client)


@pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
@pytest.mark.parametrize(("size", "wide"), [(126, 2), (65_536, 8)])
def test_a_control_frame_has_125_bytes_at_most(
    client: Raw, opcode: int, size: int, wide: int
) -> None:
    client.send(frame(opcode, b"\xfe" * size, wide=wide))
    assert client.closed() == 1002


@pytest.mark.parametrize("payload", [b"", b"unsolicited"])
def test_a_pong_that_nobody_asked_for_is_passed_over(client: Raw, payload: bytes) -> None:
    client.send(frame(PONG, payload), frame(PING, b"after it"))
    assert client.frame() == (PONG, b"after it")
    ends_well(client)


@pytest.mark.parametrize("piece", [0, 1])
def test_ten_pings_have_ten_pongs(client: Raw, piece: int) -> None:
    client.send(*[frame(PING, b"%d" % number) for number in range(10)], piece=piece)
    assert [client.frame() for _ in range(10)] == [(PONG, b"%d" % n) for n in range(10)]
    ends_well(client)


@pytest.mark.parametrize("rsv", range(1, 8))
@pytest.mark.parametrize("opcode", [TEXT, BINARY, PING, CLOSE])
def test_a_reserved_bit_fails(client: Raw, rsv: int, opcode: int) -> None:
    client.send(frame(TEXT, b"before"), frame(opcode, b"", rsv=rsv), frame(PING))
    assert client.frame() == (TEXT, b"before")
    assert client.closed() == 1002


@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
@pytest.mark.parametrize("payload", [b"", b"some"])
def test_an_opcode_that_is_none_fails(client: Raw, opcode: int, payload: bytes) -> None:
    client.send(frame(TEXT, b"before"), frame(opcode, payload), frame(PING))
    assert client.frame() == (TEXT, b"before")
    assert client.closed() == 1002


@pytest.mark.parametrize("piece", [1, 7, 1_300])
def test_a_large_message_in_small_pieces(client: Raw, piece: int) -> None:
    size = 65_536 if piece > 1 else 3_000
    client.send(frame(TEXT, b"*" * size), piece=piece)
    assert client.frame() == (TEXT, b"*" * size)
    ends_well(client)
