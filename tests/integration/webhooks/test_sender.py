"""One try of a webhook, against real sockets and real TLS."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence

import httpcore2
import pytest
import trustme
from standardwebhooks import Webhook

from hub.webhooks.guard import parse_networks
from hub.webhooks.sender import READ_BYTES, Sender
from hub.webhooks.signing import derive_secret
from tests.receiver import Names, answer, serving

SECRET = derive_secret(b"h" * 32, "wh_1", 1)
LOOPBACK = parse_networks("127.0.0.0/8")
BODY = b'{"id":"msg_1","data":{}}'


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


class Dialled(httpcore2.AsyncNetworkBackend):
    """Notes every address dialled, then dials it (or `instead`)."""

    def __init__(self, instead: str | None = None) -> None:
        self.addresses: list[str] = []
        self._instead = instead
        self._network = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: object = None,
    ) -> httpcore2.AsyncNetworkStream:
        self.addresses.append(host)
        return await self._network.connect_tcp(self._instead or host, port, timeout)


def sender(
    authority: trustme.CA,
    *answers: Sequence[str],
    network: Dialled | None = None,
    names: Names | None = None,
    nets: str = "127.0.0.0/8",
    try_seconds: float = 15.0,
) -> Sender:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return Sender(
        allow_nets=parse_networks(nets),
        resolve=names or Names(list(answers) or [["127.0.0.1"]]),
        ssl_context=context,
        network=network,
        try_seconds=try_seconds,
    )


async def test_a_try_is_a_signed_post_with_host_and_sni_of_the_name(
    authority: trustme.CA,
) -> None:
    async with (
        serving(authority, answer("204 No Content")) as server,
        sender(authority, ["127.0.0.5"]) as sending,
    ):
        url = f"https://hooks.example.com:{server.port}/in?a=b"
        outcome = await sending.send(url, "msg_1", BODY, [SECRET])
    assert (outcome.status, outcome.error) == (204, "")
    (request,) = server.requests
    assert request.line == "POST /in?a=b HTTP/1.1"
    assert request.headers["host"] == f"hooks.example.com:{server.port}"
    assert request.sni == "hooks.example.com"
    assert request.local == "127.0.0.5"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["user-agent"].startswith("Jobcast")
    assert request.body == BODY
    assert Webhook(SECRET).verify(request.body, request.headers)


async def test_connections_are_used_again(authority: trustme.CA) -> None:
    names = Names([["127.0.0.1"]])
    async with (
        serving(authority, answer("200 OK", body=b"thanks")) as server,
        sender(authority, names=names) as sending,
    ):
        url = f"https://hooks.example.com:{server.port}/"
        for number in range(3):
            assert (await sending.send(url, f"msg_{number}", BODY, [SECRET])).status == 200
    assert server.connections == len(names.asked) == 1


async def test_a_certificate_for_another_name_is_refused(authority: trustme.CA) -> None:
    async with (
        serving(authority, answer("200 OK"), name="other.example.com") as server,
        sender(authority) as sending,
    ):
        url = f"https://hooks.example.com:{server.port}/"
        outcome = await sending.send(url, "msg_1", BODY, [SECRET])
    assert outcome.status is None
    assert "certificate" in outcome.error.lower()
    assert not server.requests


async def test_a_certificate_of_an_unknown_authority_is_refused(authority: trustme.CA) -> None:
    async with (
        serving(trustme.CA(), answer("200 OK")) as server,
        sender(authority) as sending,
    ):
        url = f"https://hooks.example.com:{server.port}/"
        outcome = await sending.send(url, "msg_1", BODY, [SECRET])
    assert outcome.status is None
    assert not server.requests


async def test_a_redirect_is_an_answer_and_not_a_way(authority: trustme.CA) -> None:
    network = Dialled()
    moved = answer("302 Found", "Location: http://169.254.169.254/latest/meta-data")
    async with (
        serving(authority, moved) as server,
        sender(authority, network=network) as sending,
    ):
        url = f"https://hooks.example.com:{server.port}/"
        outcome = await sending.send(url, "msg_1", BODY, [SECRET])
    assert outcome.status == 302
    assert network.addresses == ["127.0.0.1"]
    assert len(server.requests) == 1


async def test_headers_that_drip_are_cut_at_the_limit(authority: trustme.CA) -> None:
    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while not writer.is_closing():
            writer.write(b"X-Drip: 1\r\n")
            await writer.drain()
            await asyncio.sleep(0.02)

    async with (
        serving(authority, drip) as server,
        sender(authority, try_seconds=0.5) as sending,
    ):
        url = f"https://hooks.example.com:{server.port}/"
        outcome = await sending.send(url, "msg_1", BODY, [SECRET])
        assert len(server.requests) == 1
    assert outcome.status is None
    assert "within 0.5 s" in outcome.error


async def test_a_body_that_drips_is_cut_and_its_status_counts(authority: trustme.CA) -> None:
    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n")
        while not writer.is_closing():
            writer.write(b".")
            await writer.drain()
            await asyncio.sleep(0.02)

    async with (
        serving(authority, drip) as server,
        sender(authority, try_seconds=0.5) as sending,
    ):
        url = f"https://hooks.example.com:{server.port}/"
        outcome = await sending.send(url, "msg_1", BODY, [SECRET])
        await asyncio.wait_for(server.closed.wait(), 10)
    assert (outcome.status, outcome.error) == (200, "")


async def test_of_a_huge_answer_little_is_read(authority: trustme.CA) -> None:
    sent = 0

    async def huge(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        size = 100 * 1024 * 1024
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        while sent < size:
            writer.write(b"x" * 65536)
            await writer.drain()
            sent += 65536

    async with serving(authority, huge) as server, sender(authority) as sending:
        url = f"https://hooks.example.com:{server.port}/"
        outcome = await sending.send(url, "msg_1", BODY, [SECRET])
        await asyncio.wait_for(server.closed.wait(), 10)
    assert (outcome.status, outcome.error) == (200, "")
    # What lies in socket buffers beyond READ_BYTES is the kernel's.
    assert READ_BYTES <= sent < 32 * 1024 * 1024


async def test_a_rebinding_name_reaches_only_what_was_vetted(authority: trustme.CA) -> None:
    network = Dialled(instead="127.0.0.1")
    names = Names([["1.1.1.1"], ["127.0.0.1"]])
    async with (
        serving(authority, answer("200 OK", "Connection: close")) as server,
        sender(authority, network=network, names=names, nets="") as sending,
    ):
        url = f"https://hooks.example.com:{server.port}/"
        first = await sending.send(url, "msg_1", BODY, [SECRET])
        second = await sending.send(url, "msg_2", BODY, [SECRET])
    assert first.status == 200
    assert second.status is None
    assert "not a public address" in second.error
    assert network.addresses == ["1.1.1.1"]
    assert len(names.asked) == 2


@pytest.mark.parametrize(
    "answers",
    [
        ["127.0.0.1"],
        ["1.1.1.1", "169.254.169.254"],
        ["::ffff:10.0.0.1"],
        ["64:ff9b::7f00:1"],
        ["2002:7f00:1::1"],
        ["2001:0:53aa:64c:0:7fff:80ff:fffe"],
        ["fe80::1%2"],
    ],
)
async def test_a_name_with_a_private_answer_is_never_dialled(
    authority: trustme.CA, answers: list[str]
) -> None:
    network = Dialled()
    async with sender(authority, answers, network=network, nets="") as sending:
        outcome = await sending.send("https://hooks.example.com/", "msg_1", BODY, [SECRET])
    assert outcome.status is None
    assert outcome.error.startswith("refused: ")
    assert network.addresses == []


@pytest.mark.parametrize(
    "host",
    ["127.1", "2130706433", "0x7f000001", "0177.0.0.1", "①②⑦.⓪.⓪.①", "localhost", "[::1]",
     "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "127.0.0.1", "a@127.0.0.1"],
)  # fmt: skip
async def test_a_hostile_spelling_is_neither_looked_up_nor_dialled(
    authority: trustme.CA, host: str
) -> None:
    network, names = Dialled(), Names([["1.1.1.1"]])
    async with sender(authority, network=network, names=names, nets="") as sending:
        outcome = await sending.send(f"https://{host}/", "msg_1", BODY, [SECRET])
    assert outcome.error.startswith("refused: ")
    assert network.addresses == []
    assert names.asked == []


async def test_the_systems_resolver_is_vetted_too(authority: trustme.CA) -> None:
    """Names such as 127.1 that pass as names elsewhere are addresses to getaddrinfo."""
    network = Dialled()
    async with (
        Sender(allow_nets=LOOPBACK, allow_http=True, network=network, try_seconds=5) as sending,
        serving(None, answer("200 OK")) as server,
    ):
        outcome = await sending.send(f"http://localhost:{server.port}/", "m", BODY, [SECRET])
    # localhost may resolve to ::1 as well, which is not allowed here: then nothing is dialled.
    assert outcome.status == 200 or (
        outcome.error.startswith("refused: ::1") and not server.requests
    )
    assert set(network.addresses) <= {"127.0.0.1"}


async def test_an_address_that_does_not_answer_gives_way_to_the_next(
    authority: trustme.CA,
) -> None:
    class FirstFails(Dialled):
        async def connect_tcp(
            self,
            host: str,
            port: int,
            timeout: float | None = None,
            local_address: str | None = None,
            socket_options: object = None,
        ) -> httpcore2.AsyncNetworkStream:
            stream = super().connect_tcp(host, port, timeout)
            if host == "127.0.0.2":
                stream.close()
                self.addresses.append(host)
                raise httpcore2.ConnectTimeout
            return await stream

    network = FirstFails()
    async with (
        serving(authority, answer("200 OK")) as server,
        sender(authority, ["127.0.0.2", "127.0.0.3"], network=network) as sending,
    ):
        url = f"https://hooks.example.com:{server.port}/"
        assert (await sending.send(url, "msg_1", BODY, [SECRET])).status == 200
    assert network.addresses == ["127.0.0.2", "127.0.0.3"]


async def test_proxies_of_the_environment_are_ignored(
    authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(None, answer("200 OK")) as proxy:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
            monkeypatch.setenv(name.lower(), f"http://127.0.0.1:{proxy.port}")
        async with (
            serving(authority, answer("200 OK")) as server,
            sender(authority) as sending,
        ):
            url = f"https://hooks.example.com:{server.port}/"
            assert (await sending.send(url, "msg_1", BODY, [SECRET])).status == 200
    assert proxy.connections == 0
    assert server.connections == 1


async def test_plain_http_only_where_it_is_allowed() -> None:
    names = Names([["127.0.0.1"]])
    async with serving(None, answer("200 OK")) as server:
        url = f"http://hooks.example.com:{server.port}/"
        async with Sender(allow_nets=LOOPBACK, resolve=names) as strict:
            assert "https://" in (await strict.send(url, "msg_1", BODY, [SECRET])).error
        async with Sender(allow_nets=LOOPBACK, resolve=names, allow_http=True) as lax:
            assert (await lax.send(url, "msg_1", BODY, [SECRET])).status == 200
    assert len(server.requests) == 1


async def test_retry_after_is_read(authority: trustme.CA) -> None:
    async with (
        serving(authority, answer("503 Later", "Retry-After: 120")) as server,
        sender(authority) as sending,
    ):
        url = f"https://hooks.example.com:{server.port}/"
        outcome = await sending.send(url, "msg_1", BODY, [SECRET])
    assert (outcome.status, outcome.retry_after) == (503, 120.0)


@pytest.mark.parametrize(
    "reply", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"a" * 200_000]
)
async def test_what_is_no_answer_is_an_error(authority: trustme.CA, reply: bytes) -> None:
    async def misbehave(writer: asyncio.StreamWriter) -> None:
        writer.write(reply)
        writer.close()

    async with serving(authority, misbehave) as server, sender(authority) as sending:
        url = f"https://hooks.example.com:{server.port}/"
        outcome = await sending.send(url, "msg_1", BODY, [SECRET])
    assert outcome.status is None
    assert outcome.error


async def test_nobody_listening_and_no_such_name_are_errors(authority: trustme.CA) -> None:
    async with serving(authority, answer("200 OK")) as server:
        port = server.port

    class NoName(Names):
        async def __call__(self, host: str, port: int) -> Sequence[str]:
            raise OSError("Name or service not known")

    async with sender(authority) as sending:
        outcome = await sending.send(f"https://hooks.example.com:{port}/", "m", BODY, [SECRET])
        assert outcome.error.startswith("ConnectError")
    async with sender(authority, names=NoName([])) as sending:
        outcome = await sending.send(f"https://hooks.example.com:{port}/", "m", BODY, [SECRET])
        assert "does not resolve" in outcome.error
