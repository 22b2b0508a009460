"""The head of an upgrade request, beside the parser that uvicorn uses."""

from __future__ import annotations

import string

import httptools
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hub.transport.head import PLAIN_BYTES, Head, plain_upgrade

UPGRADE = [b"Host: x", b"Upgrade: websocket", b"Connection: Upgrade"]


def head(*lines: bytes, first: bytes = b"GET /ws HTTP/1.1") -> bytes:
    return b"\r\n".join([first, *lines, b"", b""])


class Heard:
    """What httptools says of a request."""

    def __init__(self, data: bytes) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.url = b""
        self.upgraded = False
        parser = httptools.HttpRequestParser(self)
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.upgraded = True
        self.method = parser.get_method()

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))


names = st.one_of(
    st.sampled_from(["Host", "Upgrade", "Connection", "Cookie", "Content-Length", "Expect"]),
    st.text(string.ascii_letters + string.digits + "-_!#'~^` :", max_size=8),
)
values = st.one_of(
    st.sampled_from(["websocket", "WebSocket", "Upgrade", "keep-alive, Upgrade", "h2c", "0", ""]),
    st.text(st.characters(max_codepoint=255), max_size=12),
)
lines = st.lists(
    st.builds(lambda n, c, v: f"{n}{c}{v}", names, st.sampled_from([":", ": ", ":\t "]), values),
    max_size=5,
)
targets = st.one_of(
    st.sampled_from(["/", "/ws", "/ws/a%2Fb?token=x", "*", "http://x/ws", "/ü", "/a b"]),
    st.text(st.characters(max_codepoint=255), max_size=8),
)
ends = st.sampled_from(["\r\n\r\n", "\r\n", "\n\n", "\r\n\r\nmore", ""])


@given(
    target=targets,
    given_lines=lines,
    upgrade=st.booleans(),
    end=ends,
    version=st.sampled_from(["HTTP/1.1", "HTTP/1.0", "HTTP/2", "HTTP/1.1 "]),
)
@example(
    target="/ws", given_lines=["x: \xa0y\xa0"], upgrade=True, end="\r\n\r\n", version="HTTP/1.1"
)
def test_what_is_taken_is_what_another_parser_finds(
    target: str, given_lines: list[str], upgrade: bool, end: str, version: str
) -> None:
    given_lines = [*(line.decode() for line in UPGRADE if upgrade), *given_lines]
    data = ("\r\n".join([f"GET {target} {version}", *given_lines]) + end).encode("latin-1")
    found = plain_upgrade(data)
    if found is None:
        return
    taken, rest = found
    heard = Heard(data)
    assert heard.upgraded
    assert (heard.method, heard.url) == (taken.method.encode(), taken.target.encode("latin-1"))
    for name, _ in heard.headers:
        theirs = [value for other, value in heard.headers if other == name]
        ours = taken.all(name.decode("latin-1"))
        assert [value.encode("latin-1") for value in ours] == theirs
    assert data.endswith(rest)
    assert rest == data.partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize(
    "data",
    [
        head(*UPGRADE),
        head(*UPGRADE, first=b"GET /ws/a%20b?x=1&y HTTP/1.1"),
        head(b"upgrade:WebSocket", b"connection: keep-alive ,  UPGRADE"),
        head(b"Connection: keep-alive", b"Connection: Upgrade", b"Upgrade: websocket"),
        head(*UPGRADE, b"X: " + bytes(range(0x80, 0x100))),
        head(*UPGRADE) + b"\x81\x85",
    ],
)
def test_an_upgrade_is_taken(data: bytes) -> None:
    assert plain_upgrade(data) is not None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        head(*UPGRADE)[:-1],
        head(),
        head(b"Host: x"),
        head(b"Upgrade: websocket"),
        head(b"Upgrade: h2c", b"Connection: Upgrade"),
        head(b"Upgrade: websocket, h2c", b"Connection: Upgrade"),
        head(*UPGRADE, b"Upgrade: h2c"),
        head(b"Upgrade: websocket", b"Connection: close"),
        head(*UPGRADE, first=b"POST /ws HTTP/1.1"),
        head(*UPGRADE, first=b"GET ws HTTP/1.1"),
        head(*UPGRADE, first=b"GET /w s HTTP/1.1"),
        head(*UPGRADE, first=b"GET /ws HTTP/1.0"),
        head(*UPGRADE, b"Content-Length: 0"),
        head(*UPGRADE, b"Transfer-Encoding: chunked"),
        head(*UPGRADE, b"Expect: 100-continue"),
        head(*UPGRADE, b" folded: yes"),
        head(*UPGRADE, b"no colon"),
        head(*UPGRADE, b"a name: x"),
        head(*UPGRADE, b": x"),
        head(*UPGRADE, b"X: \x00"),
        head(*UPGRADE, b"X: a\nY: b"),
        head(*UPGRADE).replace(b"\r\n", b"\n"),
        head(*UPGRADE, b"X: " + b"x" * PLAIN_BYTES),
    ],
)
def test_anything_else_is_left_alone(data: bytes) -> None:
    assert plain_upgrade(data) is None


def test_an_endless_head_takes_no_longer_than_it_is_long() -> None:
    assert plain_upgrade(b"GET / HTTP/1.1\r\n" + b"a:" * 1_000_000) is None
    assert plain_upgrade(b"GET / HTTP/1.1\r\n" + b"a:\r\n" * 500_000) is None


def test_the_example_of_the_rfc() -> None:
    key = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
    assert Head(head(*UPGRADE, key)[:-4]).accept == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@pytest.mark.parametrize(
    "keys", [[], [b""], [b"AAAA"], [b"A" * 24], [b"dGhlIHNhbXBsZSBub25jZQ=="] * 2, [b"\xff" * 24]]
)
def test_other_keys_have_no_answer(keys: list[bytes]) -> None:
    lines = [b"Sec-WebSocket-Key: " + key for key in keys]
    assert Head(head(*UPGRADE, *lines)[:-4]).accept is None
