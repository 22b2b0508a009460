"""RFC 6455 from the other end of a socket: framing, control frames, UTF-8 and closing."""

from __future__ import annotations

import random
from contextlib import suppress

import pytest

from tests.integration.transport.raw import (
    BINARY,
    CLOSE,
    CONT,
    PING,
    PONG,
    TEXT,
    Raw,
    Server,
    close,
    frame,
)

WORDS = "Hello-µ@ßöäüàá-UTF-8!! κόσμε 𝄞".encode()


def ends_well(client: Raw) -> None:
    """The connection is still good, and closes as it should."""
    client.send(frame(TEXT, b"still here"), close(1000))
    assert client.frame() == (TEXT, b"still here")
    assert client.closed() == 1000


# ------------------------------------------------------------------ 1: framing


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


# ------------------------------------------------------------------ 2: pings and pongs


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


# ------------------------------------------------------------------ 3 and 4: bits, opcodes


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


# ------------------------------------------------------------------ 5: fragments


@pytest.mark.parametrize("piece", [0, 1])
@pytest.mark.parametrize(
    "parts", [[b"one", b"two"], [b"", b""], [b"", b"", b"x"], [b"x", b"", b""], [b"a"] * 300]
)
def test_fragments_make_one_message(client: Raw, parts: list[bytes], piece: int) -> None:
    frames = [
        frame(CONT if index else TEXT, part, fin=index == len(parts) - 1)
        for index, part in enumerate(parts)
    ]
    client.send(*frames, piece=piece)
    assert client.frame() == (TEXT, b"".join(parts))
    ends_well(client)


def test_fragments_of_a_binary_message(client: Raw) -> None:
    client.send(frame(BINARY, b"\xff", fin=False), frame(CONT, b"\xfe"))
    assert client.frame() == (BINARY, b"?")
    ends_well(client)


def test_control_frames_may_come_between_fragments(client: Raw) -> None:
    client.send(
        frame(TEXT, b"a", fin=False),
        frame(PING, b"1"),
        frame(CONT, b"b", fin=False),
        frame(PONG, b"?"),
        frame(PING, b"2"),
        frame(CONT, b"c"),
    )
    assert [client.frame() for _ in range(3)] == [(PONG, b"1"), (PONG, b"2"), (TEXT, b"abc")]
    ends_well(client)


@pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
def test_a_control_frame_is_never_fragmented(client: Raw, opcode: int) -> None:
    client.send(frame(opcode, b"", fin=False))
    assert client.closed() == 1002


@pytest.mark.parametrize("fin", [True, False])
@pytest.mark.parametrize("after_one", [True, False])
def test_nothing_can_be_continued(client: Raw, fin: bool, after_one: bool) -> None:
    if after_one:
        client.send(frame(TEXT, b"whole"))
    client.send(frame(CONT, b"what?", fin=fin), frame(TEXT, b"next"))
    if after_one:
        assert client.frame() == (TEXT, b"whole")
    assert client.closed() == 1002


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("fin", [True, False])
def test_a_message_ends_before_the_next(client: Raw, opcode: int, fin: bool) -> None:
    client.send(frame(TEXT, b"one", fin=False), frame(opcode, b"two", fin=fin))
    assert client.closed() == 1002


def test_a_close_between_fragments_closes(client: Raw) -> None:
    client.send(frame(TEXT, b"one", fin=False), close(1000))
    assert client.closed() == 1000


# ------------------------------------------------------------------ 6: UTF-8

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


# ------------------------------------------------------------------ 7: closing


@pytest.mark.parametrize(
    "code",
    [*range(1000, 1004), *range(1007, 1015), 3000, 3999, 4000, 4999],
)
def test_a_close_is_answered_with_its_code(client: Raw, code: int) -> None:
    client.send(close(code, b"because"))
    assert client.closed() == code


def test_a_close_may_be_empty(client: Raw) -> None:
    client.send(close())
    assert client.closed() is None


@pytest.mark.parametrize("reason", [b"", b"x" * 123, "ö".encode() * 61])
def test_a_close_may_say_why(client: Raw, reason: bytes) -> None:
    client.send(close(1000, reason))
    assert client.closed() == 1000


@pytest.mark.parametrize(
    "code", [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535]
)
def test_a_code_that_must_not_be_sent_fails(client: Raw, code: int) -> None:
    client.send(close(code))
    assert client.closed() == 1002


def test_half_a_code_fails(client: Raw) -> None:
    client.send(frame(CLOSE, b"\x03"))
    assert client.closed() == 1002


@pytest.mark.parametrize("reason", INVALID[:6])
def test_a_reason_is_utf8(client: Raw, reason: bytes) -> None:
    client.send(close(1000, reason))
    assert client.closed() == 1007


def test_nothing_after_a_close_counts(client: Raw) -> None:
    client.send(close(1000), frame(TEXT, b"late"), frame(PING, b"late"), close(1001))
    opcode, payload = client.frame()
    assert (opcode, payload[:2]) == (CLOSE, b"\x03\xe8")
    assert client.rest() == b""


def test_what_came_before_a_close_is_answered(client: Raw) -> None:
    client.send(frame(TEXT, b"x" * 60_000), frame(PING, b"p"), close(1000))
    assert client.frame() == (TEXT, b"x" * 60_000)
    assert client.frame() == (PONG, b"p")
    assert client.closed() == 1000


def test_the_server_closes_and_waits_for_the_answer(client: Raw, echo: Server) -> None:
    client.send(frame(TEXT, b"bye"))
    opcode, payload = client.frame()
    assert (opcode, payload) == (CLOSE, (4001).to_bytes(2, "big") + b"bye")
    # What crosses with it is read and dropped.
    client.send(frame(TEXT, b"did not know yet"), frame(PING, b"p"), close(4001))
    assert client.rest() == b""


def test_a_client_that_just_goes_leaves_nothing(echo: Server) -> None:
    for goodbye in (b"", frame(TEXT, b"half a fra")[:-3], b"\x81", frame(TEXT, b"x", fin=False)):
        before = echo.seen.count("ended")
        with echo.client() as client:
            client.send(goodbye)
        with echo.client() as other:
            while echo.seen.count("ended") == before:
                other.send(frame(PING))
                assert other.frame() == (PONG, b"")
            ends_well(other)


def test_a_client_that_half_closes_has_what_it_asked_for(client: Raw) -> None:
    client.send(frame(TEXT, b"last words"))
    assert client.frame() == (TEXT, b"last words")
    client.sock.shutdown(1)
    assert client.rest() == b""


# ------------------------------------------------------------------ 10: pieces and chance


@pytest.mark.parametrize("piece", [1, 7, 1_300])
def test_a_large_message_in_small_pieces(client: Raw, piece: int) -> None:
    size = 65_536 if piece > 1 else 3_000
    client.send(frame(TEXT, b"*" * size), piece=piece)
    assert client.frame() == (TEXT, b"*" * size)
    ends_well(client)


@pytest.mark.parametrize("seed", range(40))
def test_noise_ends_its_own_connection_only(echo: Server, seed: int) -> None:
    chance = random.Random(seed)
    with echo.client() as bystander:
        for _ in range(10):
            noise = chance.randbytes(chance.randrange(1, 3_000))
            if chance.random() < 0.7:
                # Past the first checks: a good head, and whatever follows.
                noise = bytes([0x80 | chance.choice([0, 1, 2, 8, 9, 10]), 0x80]) + noise
            with echo.client() as client, suppress(OSError):
                client.send(noise, piece=chance.choice([0, 1, 100]))
                client.sock.shutdown(1)
                client.rest()
        ends_well(bystander)
    assert echo.errors == []


@pytest.mark.parametrize("seed", range(20))
def test_good_frames_with_one_bit_turned_end_their_own_connection_only(
    echo: Server, seed: int
) -> None:
    chance = random.Random(seed)
    with echo.client() as bystander:
        for _ in range(10):
            good = bytearray(
                frame(TEXT, WORDS, fin=False) + frame(PING, b"p") + frame(CONT, WORDS) + close(1000)
            )
            good[chance.randrange(len(good))] ^= 1 << chance.randrange(8)
            with echo.client() as client, suppress(OSError):
                client.send(bytes(good))
                client.sock.shutdown(1)
                client.rest()
        ends_well(bystander)
    assert echo.errors == []
