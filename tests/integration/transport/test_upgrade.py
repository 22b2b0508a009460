"""The handshake under the uvicorn that is installed: what the hub relies on, and every way out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from hub.server import PLAIN
from hub.server import Server as HubServer
from hub.settings import Settings
from hub.transport.upgrade import EARLY_BYTES, Arrival, unfit
from tests.conftest import SECRET
from tests.integration.transport.hosted import ACCEPT, KEY, Hosted, request
from tests.integration.transport.raw import CLOSE, PONG, TEXT, Raw, close, frame
from tests.integration.transport.raw import PING as PING_

Ask = Callable[[Raw, bytes], None]


@pytest.fixture(scope="module", params=["httptools-uvloop", "h11-asyncio"])
def hosted(request: pytest.FixtureRequest) -> Iterator[Hosted]:
    http, loop = request.param.split("-")
    hosted = Hosted(http, loop)
    with hosted.running():
        yield hosted


def at_once(client: Raw, head: bytes) -> None:
    """The request is the connection's first, and whole: the hub's own class reads it."""
    client.send(head)


def later(client: Raw, head: bytes) -> None:
    """There was another one before: uvicorn reads it."""
    client.send(b"GET /before HTTP/1.1\r\nHost: x\r\n\r\n")
    assert client.head().startswith(b"HTTP/1.1 200 ")
    assert client.exactly(7) == b"/before"
    client.send(head)


@pytest.fixture(params=[at_once, later])
def ask(request: pytest.FixtureRequest) -> Ask:
    found: Ask = request.param
    return found


def settled(hosted: Hosted) -> None:
    """Returns once the server holds no connection and no task: fails when that never comes."""
    for _ in range(500):
        if not hosted.server.server_state.connections and not hosted.server.server_state.tasks:
            return
        with hosted.client() as client:
            # A request of its own, which the server has to finish before it answers.
            client.send(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            client.rest()
    raise AssertionError(hosted.server.server_state.connections)


def test_the_answer_is_that_of_the_rfc(hosted: Hosted, ask: Ask) -> None:
    with hosted.client() as client:
        words = "Sec-WebSocket-Protocol: one, two"
        ask(client, request("/ws%20x?a=b%20c", words, "sec-websocket-protocol:3", "X-Odd: \xfc"))
        first, *lines = client.head().split(b"\r\n")
        headers = dict(line.lower().split(b": ", 1) for line in lines)
        assert first == b"HTTP/1.1 101 Switching Protocols"
        assert (headers[b"upgrade"], headers[b"connection"]) == (b"websocket", b"upgrade")
        assert headers[b"sec-websocket-accept"] == ACCEPT.lower()
        assert headers[b"sec-websocket-protocol"] == b"one"
        assert b"date" in headers, "uvicorn's own headers"
        assert b"sec-websocket-extensions" not in headers
        client.send(frame(TEXT, b"hello"), close(1000))
        assert client.frame() == (TEXT, b"hello")
        assert client.closed() == 1000
    head = hosted.heads[-1]
    assert (head.method, head.path, head.query) == ("GET", "/ws x", "a=b%20c")
    assert head.words("sec-websocket-protocol") == ["one", "two", "3"]
    assert head.get("sec-websocket-key") == KEY
    assert head.get("x-odd") == "\xfc"
    assert head.get("x-even") is None
    settled(hosted)


def test_an_answer_without_a_subprotocol_names_none(hosted: Hosted, ask: Ask) -> None:
    with hosted.client() as client:
        ask(client, request())
        assert b"sec-websocket-protocol" not in client.head().lower()


def test_an_open_connection_is_the_servers_and_has_no_task(hosted: Hosted, ask: Ask) -> None:
    settled(hosted)
    with hosted.client() as client:
        ask(client, request())
        client.head()
        client.send(frame(PING_, b""))
        assert client.frame() == (PONG, b"")
        state = hosted.server.server_state
        assert [type(one).__name__ for one in state.connections] == ["Wire"]
        assert not state.tasks
    settled(hosted)


def test_a_connection_that_says_nothing_is_the_servers(hosted: Hosted) -> None:
    settled(hosted)
    with hosted.client(), hosted.open():
        kinds = {type(one).__name__ for one in hosted.server.server_state.connections}
        assert kinds == {"Arrival", "Wire"}
    settled(hosted)


def test_requests_that_are_none_for_an_upgrade_are_uvicorns(hosted: Hosted) -> None:
    with hosted.client() as client:
        for path in (b"/ws", b"/two", b"/three"):
            client.send(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % path)
            assert client.head().startswith(b"HTTP/1.1 200 ")
            assert client.exactly(len(path)) == path
    settled(hosted)


@pytest.mark.parametrize("key", [None, "", "short", "x" * 24, "dGhlIHNhbXBsZSBub25jZTEyMw==", "ü"])
def test_a_key_that_is_none_is_a_bad_request(hosted: Hosted, key: str | None, ask: Ask) -> None:
    with hosted.client() as client:
        ask(client, request(key=key))
        assert client.head().startswith(b"HTTP/1.1 400 ")
        assert client.rest() == b""
    settled(hosted)


def test_two_keys_are_a_bad_request(hosted: Hosted, ask: Ask) -> None:
    with hosted.client() as client:
        ask(client, request("/ws", f"Sec-WebSocket-Key: {KEY}"))
        assert client.head().startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("version", [None, "", "8", "14", "13, 8"])
def test_another_version_is_told_which_is_spoken(
    hosted: Hosted, version: str | None, ask: Ask
) -> None:
    with hosted.client() as client:
        ask(client, request(version=version))
        head = client.head().lower()
        assert head.startswith(b"http/1.1 426 ")
        assert b"sec-websocket-version: 13" in head


@pytest.mark.parametrize("method", ["POST", "HEAD", "OPTIONS"])
def test_only_get_upgrades(hosted: Hosted, method: str, ask: Ask) -> None:
    with hosted.client() as client:
        ask(client, request(method=method))
        assert client.head().startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(("path", "status"), [("/refuse", b"403"), ("/raise", b"500")])
def test_a_gate_may_refuse_or_fail(
    hosted: Hosted, path: str, status: bytes, ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    with hosted.client() as client:
        ask(client, request(path))
        assert client.head().split(b" ")[1] == status
        assert client.rest() == b""
    settled(hosted)
    logged = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert bool(logged) == (path == "/raise")


def test_what_fails_after_the_answer_ends_its_connection(hosted: Hosted, ask: Ask) -> None:
    hosted.seen.clear()
    with hosted.client() as client:
        ask(client, request("/fail"))
        assert client.head().startswith(b"HTTP/1.1 101 ")
        assert client.rest() == b""
    settled(hosted)
    assert hosted.seen == ["begun", "ended"]


def test_a_request_in_pieces_is_answered(hosted: Hosted) -> None:
    head = request("/ws", "X-Long: " + "x" * 3_000)
    for pieces in ([head[:1], head[1:]], [head[:700], head[700:-2], head[-2:]]):
        with hosted.client() as client:
            before = len(hosted.heads)
            for piece in pieces:
                client.send(piece)
                # What another connection is answered shows that the piece was read.
                with hosted.open() as other:
                    other.send(close(1000))
                    other.closed()
            assert client.head().startswith(b"HTTP/1.1 101 ")
            client.send(close(1000))
            assert client.closed() == 1000
            assert len(hosted.heads) == before + len(pieces) + 1
    settled(hosted)


def test_bytes_behind_the_request_are_taken(hosted: Hosted) -> None:
    for count in (1, 20, EARLY_BYTES // 100):
        with hosted.client() as client:
            sent = [b"%d" % number + b"x" * 1_000 for number in range(count)]
            client.send(request(), *[frame(TEXT, text) for text in sent])
            assert client.head().startswith(b"HTTP/1.1 101 ")
            for text in sent:
                assert client.frame() == (TEXT, text)
            client.send(close(1000))
            assert client.closed() == 1000
    settled(hosted)


def test_bytes_right_behind_the_handshake_are_taken(hosted: Hosted, ask: Ask) -> None:
    for _ in range(20):
        with hosted.client() as client:
            ask(client, request())
            client.head()
            client.send(frame(TEXT, b"at once"), frame(PING_, b"p"), close(1000))
            assert client.frame() == (TEXT, b"at once")
            assert client.frame() == (PONG, b"p")
            assert client.closed() == 1000
    settled(hosted)


def test_a_stop_closes_what_is_open() -> None:
    hosted = Hosted("httptools", "uvloop")
    with hosted.running(), hosted.open() as client, hosted.client() as undecided:
        undecided.send(request()[:30])
        with hosted.client() as silent:
            hosted.server.should_exit = True
            assert client.frame() == (CLOSE, (1012).to_bytes(2, "big"))
            client.send(close(1012))
            assert client.rest() == undecided.rest() == silent.rest() == b""
    assert hosted.seen == ["begun", "leaving", "ended"]


def test_noise_in_place_of_a_handshake_harms_nobody(hosted: Hosted) -> None:
    upgrade = b"Host: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    noise = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /ws HTTP/1.1\r\n" + upgrade + b"\x00\r\n\r\n",
        b"GET \xff\xfe HTTP/1.1\r\n" + upgrade + b"\r\n",
        b"GET http://x/ws HTTP/1.1\r\n" + upgrade + b"\r\n",
        b"GET /ws HTTP/1.1\r\n" + upgrade + b"Content-Length: 5\r\n\r\nhello",
        request()[:-4],
        request()[:30],
    ]
    with hosted.open() as bystander:
        for wrong in noise:
            with hosted.client() as client:
                client.send(wrong)
                client.sock.shutdown(1)
                assert b"101" not in client.rest()[:20]
        bystander.send(frame(TEXT, b"still here"))
        assert bystander.frame() == (TEXT, b"still here")
    settled(hosted)


# ------------------------------------------------------------------ the check at start-up


def test_this_uvicorn_fits(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    server = HubServer(settings)
    assert unfit(server.config, server.server_state) == ""
    http: Any = server.config.http
    assert http.func is Arrival
    assert HubServer(settings, fast=False).config.ws == PLAIN
    assert HubServer(settings, fast=False).config.http == "auto"
    assert caplog.messages == []


@pytest.mark.parametrize("missing", ["connections", "default_headers"])
def test_a_uvicorn_without_what_is_relied_on_is_told_of(missing: str) -> None:
    names = {"connections", "default_headers"} - {missing}
    state: Any = SimpleNamespace(**dict.fromkeys(names))
    config = uvicorn.Config("app:app", log_config=None)
    assert f"has no SimpleNamespace.{missing}" in unfit(config, state)
    assert unfit(config, ServerState()) == ""


def test_the_hub_falls_back_with_one_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("hub.transport.upgrade.unfit", lambda *_: "uvicorn 9 has no such thing")
    with caplog.at_level(logging.INFO):
        server = HubServer(Settings(secret=SECRET, port=0))
    assert (server.config.ws, server.config.http) == (PLAIN, "auto")
    assert caplog.messages == [
        "WebSockets go through ASGI, which is slower: uvicorn 9 has no such thing"
    ]
