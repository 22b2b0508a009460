"""RFC 6455 from the other end of a socket: the closing handshake."""

from __future__ import annotations

import pytest

from tests.integration.transport.raw import (
    CLOSE,
    PING,
    PONG,
    TEXT,
    Raw,
    Server,
    close,
    ends_well,
    frame,
)


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
