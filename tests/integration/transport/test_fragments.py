"""RFC 6455 from the other end of a socket: messages in fragments."""

from __future__ import annotations

import pytest

from tests.integration.transport.raw import (
    BINARY,
    CLOSE,
    CONT,
    PING,
    PONG,
    TEXT,
    Raw,
    close,
    ends_well,
    frame,
)


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
