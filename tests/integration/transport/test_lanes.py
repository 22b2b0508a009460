"""What is written to many sockets past their transports: in order, whole, and to nobody else."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import struct
from contextlib import ExitStack
from typing import Any, cast

import pytest

from hub.transport.direct import Direct, direct, write_all
from tests.integration.transport.conftest import LOOPS
from tests.integration.transport.raw import TEXT, Raw, Server, close, ends_well, frame, serving


def say(*texts: bytes) -> bytes:
    return b"".join(frame(TEXT, text) for text in texts)


def settled(client: Raw) -> None:
    """The client has had an answer, so that its connection is free then."""
    client.send(say(b"hello"))
    assert client.frame() == (TEXT, b"hello")


def read(client: Raw, count: int) -> list[bytes]:
    return [client.frame()[1] for _ in range(count)]


def test_all_get_everything_in_order(echo: Server) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(echo.client()) for _ in range(5)]
        for client in clients:
            settled(client)
        told = [b"all:%d" % number for number in range(100)]
        clients[0].send(say(*told))
        for client in clients:
            assert read(client, len(told)) == told
            ends_well(client)


def test_an_answer_keeps_its_place_among_what_all_get(echo: Server) -> None:
    with echo.client() as client, echo.client() as other:
        settled(client)
        settled(other)
        said = [b"one", b"all:two", b"three", b"all:four", b"all:five", b"six"] * 20
        client.send(say(*said))
        assert read(client, len(said)) == said
        assert read(other, 60) == [text for text in said if text.startswith(b"all:")]
        ends_well(client)
        ends_well(other)


@pytest.mark.parametrize("loop", LOOPS)
def test_who_does_not_read_holds_up_nobody_and_misses_nothing(loop: str) -> None:
    with serving(LOOPS[loop], limit=1 << 20) as echo, ExitStack() as stack:
        slow, quick = (stack.enter_context(echo.client()) for _ in range(2))
        settled(slow)
        settled(quick)
        told = [b"all:%04d" % number + b"x" * 60_000 for number in range(400)]
        for text in told:
            # 24 MB: more than any kernel takes for a client that does not read.
            quick.send(say(text))
            assert quick.frame() == (TEXT, text)
        assert read(slow, len(told)) == told
        # It is free again, and served as before.
        quick.send(say(b"all:more"))
        for client in (slow, quick):
            assert client.frame() == (TEXT, b"all:more")
            ends_well(client)


def test_a_connection_that_breaks_is_its_own_affair(echo: Server) -> None:
    with echo.client() as quick:
        settled(quick)
        for _ in range(20):
            with echo.client() as broken:
                settled(broken)
                broken.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            quick.send(say(b"all:1", b"all:2"))
            assert read(quick, 2) == [b"all:1", b"all:2"]
        ends_well(quick)


def test_nothing_follows_a_close(echo: Server) -> None:
    with echo.client() as leaving, echo.client() as quick:
        settled(leaving)
        settled(quick)
        leaving.send(close(1000))
        assert leaving.frame()[0] == 8
        quick.send(say(b"all:gone"))
        assert quick.frame() == (TEXT, b"all:gone")
        assert leaving.rest() == b""
        ends_well(quick)


class Watcher(asyncio.Protocol):
    """Looks at its descriptor while the transport ends; `direct` writes to it."""

    def __init__(self) -> None:
        self.ended: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.rest: list[bytes] = []

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.fd = transport.get_extra_info("socket").fileno()
        self.direct = cast(Direct, direct(transport, self))

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set_result(is_socket(self.fd))

    def left_over(self, rest: bytes) -> None:
        self.rest.append(rest)


def is_socket(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


async def watched() -> tuple[Watcher, socket.socket]:
    ours, theirs = socket.socketpair()
    _, watcher = await asyncio.get_running_loop().connect_accepted_socket(Watcher, ours)
    return watcher, theirs


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("end", ["abort", "close", "end of file"])
def test_the_descriptor_is_ours_until_the_connection_is_lost(loop: str, end: str) -> None:
    async def run() -> None:
        watcher, theirs = await watched()
        with theirs:
            if end == "end of file":
                theirs.close()
            else:
                getattr(watcher.transport, end)()
            assert is_socket(watcher.fd)
            async with asyncio.timeout(60):
                assert await watcher.ended

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(run())


@pytest.mark.parametrize("loop", LOOPS)
def test_who_borrows_a_socket_does_not_close_it(loop: str) -> None:
    async def run() -> None:
        watcher, theirs = await watched()
        with theirs:
            write_all([watcher.direct], b"a")
            del watcher.direct
            gc.collect()
            watcher.transport.write(b"b")
            assert theirs.recv(1) + theirs.recv(1) == b"ab"
            watcher.transport.close()
            await watcher.ended

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(run())


def test_what_is_not_taken_comes_back_whole() -> None:
    async def run() -> None:
        some = [await watched() for _ in range(4)]
        full, broken = some[1][0], some[2][0]
        data = b"x" * 50_000
        while not full.rest:
            write_all([full.direct], data)
        left, full.rest = len(full.rest[0]), []
        assert 0 < left <= len(data)
        broken.direct.detach()
        write_all([watcher.direct for watcher, _ in some], data)
        assert [watcher.rest for watcher, _ in some] == [[], [data], [data], []]
        for watcher, theirs in some:
            watcher.transport.abort()
            await watcher.ended
            theirs.close()

    with asyncio.Runner(loop_factory=LOOPS["uvloop"]) as runner:
        runner.run(run())


def test_nobody_is_no_trouble() -> None:
    write_all([], b"x")


@pytest.mark.parametrize("kind", ["tls", "no socket"])
def test_other_transports_write_by_themselves(kind: str) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        extra = {"socket": ours, "sslcontext": object()} if kind == "tls" else {}
        transport = asyncio.Transport(extra)
        assert direct(transport, cast(Any, None)) is None
