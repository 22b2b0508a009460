"""The handshake under the uvicorn that is installed: what the hub relies on, and every way out."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from hub.server import FAST, PLAIN
from hub.server import Server as HubServer
from hub.settings import Settings
from hub.transport.upgrade import unfit
from tests.conftest import SECRET
from tests.integration.transport.hosted import ACCEPT, KEY, Hosted, request
from tests.integration.transport.raw import CLOSE, PONG, TEXT, close, frame
from tests.integration.transport.raw import PING as PING_


@pytest.fixture(scope="module", params=["httptools-uvloop", "h11-asyncio"])
def hosted(request: pytest.FixtureRequest) -> Iterator[Hosted]:
    http, loop = request.param.split("-")
    hosted = Hosted(http, loop)
    with hosted.running():
        yield hosted


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


def begun(hosted: Hosted, path: str) -> None:
    """Returns once the app has been called for a path: uvicorn drops what is in the request's
    own segment."""
    with hosted.client() as client:
        while not any(scope["path"] == path for scope in hosted.scopes):
            client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            client.head()


def test_the_answer_is_that_of_the_rfc(hosted: Hosted) -> None:
    with hosted.client() as client:
        client.send(request("/ws?a=b%20c", "Sec-WebSocket-Protocol: one, two", "X-Odd: \xfc"))
        first, *lines = client.head().split(b"\r\n")
        headers = dict(line.lower().split(b": ", 1) for line in lines)
        assert first == b"HTTP/1.1 101 Switching Protocols"
        assert (headers[b"upgrade"], headers[b"connection"]) == (b"websocket", b"upgrade")
        assert headers[b"sec-websocket-accept"] == ACCEPT.lower()
        assert headers[b"sec-websocket-protocol"] == b"one"
        assert headers[b"x-app"] == b"yes"
        assert b"sec-websocket-extensions" not in headers
        client.send(frame(TEXT, b"hello"), close(1000))
        assert client.frame() == (TEXT, b"hello")
        assert client.closed() == 1000
    scope = hosted.scopes[-1]
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == (
        "/ws",
        b"/ws",
        b"a=b%20c",
    )
    assert (scope["scheme"], scope["http_version"], scope["root_path"]) == ("ws", "1.1", "")
    assert scope["subprotocols"] == ["one", "two"]
    assert scope["client"][0] == scope["server"][0] == "127.0.0.1"
    assert scope["server"][1] == hosted.port
    assert (b"sec-websocket-key", KEY.encode()) in scope["headers"]
    assert (b"x-odd", b"\xfc") in scope["headers"]


def test_an_open_connection_is_the_servers_and_has_no_task(hosted: Hosted) -> None:
    settled(hosted)
    with hosted.open() as client:
        client.send(frame(PING_, b""))
        assert client.frame() == (PONG, b"")
        state = hosted.server.server_state
        assert [type(one).__name__ for one in state.connections] == ["Wire"]
        assert not state.tasks
    settled(hosted)


@pytest.mark.parametrize("key", [None, "", "short", "x" * 24, "dGhlIHNhbXBsZSBub25jZTEyMw==", "ü"])
def test_a_key_that_is_none_is_a_bad_request(hosted: Hosted, key: str | None) -> None:
    with hosted.client() as client:
        client.send(request(key=key))
        assert client.head().startswith(b"HTTP/1.1 400 ")
        assert client.rest() == b""
    settled(hosted)


def test_two_keys_are_a_bad_request(hosted: Hosted) -> None:
    with hosted.client() as client:
        client.send(request("/ws", f"Sec-WebSocket-Key: {KEY}"))
        assert client.head().startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("version", [None, "", "8", "14", "13, 8"])
def test_another_version_is_told_which_is_spoken(hosted: Hosted, version: str | None) -> None:
    with hosted.client() as client:
        client.send(request(version=version))
        head = client.head().lower()
        assert head.startswith(b"http/1.1 426 ")
        assert b"sec-websocket-version: 13" in head


@pytest.mark.parametrize("method", ["POST", "HEAD", "OPTIONS"])
def test_only_get_upgrades(hosted: Hosted, method: str) -> None:
    with hosted.client() as client:
        client.send(request(method=method))
        assert client.head().startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    ("path", "status"),
    [("/refuse", b"403"), ("/silent", b"500"), ("/raise", b"500"), ("/too-early", b"500")],
)
def test_an_app_may_refuse_or_fail(
    hosted: Hosted, path: str, status: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with hosted.client() as client:
        client.send(request(path))
        assert client.head().split(b" ")[1] == status
        assert client.rest() == b""
    settled(hosted)
    logged = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert bool(logged) == (path in ("/raise", "/too-early"))


def test_an_app_that_does_not_take_over_closes(hosted: Hosted) -> None:
    with hosted.open("/keep") as client:
        assert client.closed() == 1011
    with hosted.open("/send") as client:
        assert client.closed() == 1011
    settled(hosted)


def test_bytes_that_come_before_the_answer_are_kept(hosted: Hosted) -> None:
    hosted.go.clear()
    sent = [frame(TEXT, b"%d" % number + b"x" * 1_000) for number in range(200)]
    with hosted.client() as client:
        client.send(request("/slow"))
        begun(hosted, "/slow")
        client.send(*sent)
        hosted.go.set()
        assert client.head().startswith(b"HTTP/1.1 101 ")
        for number in range(200):
            assert client.frame() == (TEXT, b"%d" % number + b"x" * 1_000)
    settled(hosted)


def test_a_client_that_goes_before_the_answer_is_told_to_the_app(hosted: Hosted) -> None:
    hosted.raised.clear()
    with hosted.client() as client:
        client.send(request("/gone"))
        begun(hosted, "/gone")
    settled(hosted)
    assert [type(error) for error in hosted.raised] == [OSError]


def test_bytes_right_behind_the_handshake_are_taken(hosted: Hosted) -> None:
    for _ in range(20):
        with hosted.open() as client:
            client.send(frame(TEXT, b"at once"), frame(PING_, b"p"), close(1000))
            assert client.frame() == (TEXT, b"at once")
            assert client.frame() == (PONG, b"p")
            assert client.closed() == 1000
    settled(hosted)


def test_a_stop_closes_what_is_open() -> None:
    hosted = Hosted("httptools", "uvloop")
    with hosted.running(), hosted.open() as client, hosted.client() as undecided:
        hosted.go.clear()
        undecided.send(request("/slow"))
        begun(hosted, "/slow")
        hosted.server.should_exit = True
        assert client.frame() == (CLOSE, (1012).to_bytes(2, "big"))
        client.send(close(1012))
        assert client.rest() == b""
        assert undecided.head().split(b" ")[1] == b"500"
        hosted.go.set()
    assert hosted.seen == ["leaving", "ended"]


def test_noise_in_place_of_a_handshake_harms_nobody(hosted: Hosted) -> None:
    noise = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\x00\r\n\r\n",
        b"GET \xff\xfe HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"GET http://x/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
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
    assert server.config.ws == FAST
    assert HubServer(settings, fast=False).config.ws == PLAIN
    assert caplog.messages == []


@pytest.mark.parametrize("missing", ["connections", "tasks", "default_headers"])
def test_a_uvicorn_without_what_is_relied_on_is_told_of(missing: str) -> None:
    names = {"connections", "tasks", "default_headers"} - {missing}
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
    assert server.config.ws == PLAIN
    assert caplog.messages == [
        "WebSockets go through ASGI, which is slower: uvicorn 9 has no such thing"
    ]
