"""A thousand subscribers of one session, of which two hundred stop reading."""

from __future__ import annotations

import asyncio
import json
import os
import re
import selectors
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import jwt
import pytest

from hub.jobs import NewJob
from hub.store import Store
from tests.conftest import SECRET, Server
from tests.integration.transport.hosted import request
from tests.integration.transport.raw import PING, PONG, Raw, frame

SUBSCRIBERS, STALLED = 1_000, 200
EVENTS, ROUND, PAD = 400, 20, 2_000
#: The promised bound, in bytes of resident memory for each that stopped reading.
EACH = 100 * 1024
_SEQ = re.compile(rb'"id":"(\d+)-')


class Subscriber(Raw):
    """Reads frames as they come; `seqs` are the positions of the lifecycle events it has had."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self.seqs: list[int] = []
        self.greeted = False

    def read(self) -> None:
        """Takes what is there."""
        more = self.sock.recv(65_536)
        assert more, "the hub closed the connection"
        self._buffer += more
        self.parse()

    def parse(self) -> None:
        """Takes the whole frames of what has been read."""
        data, at = self._buffer, 0
        while len(data) - at >= 2:
            length, head = data[at + 1], 2
            if length > 125:
                wide = 2 if length == 126 else 8
                head += wide
                length = int.from_bytes(data[at + 2 : at + head], "big")
            if len(data) - at < head + length:
                break
            if data[at] & 0x0F == PING:
                self.send(frame(PONG))
            self._take(data[at + head : at + head + min(length, 100)])
            at += head + length
        self._buffer = data[at:]

    def _take(self, start: bytes) -> None:
        found = _SEQ.search(start)
        if found is not None:
            self.seqs.append(int(found[1]))
        elif b'"type":"hello"' in start:
            self.greeted = True


def read_until(subscribers: list[Subscriber], last: int) -> None:
    """Reads all of them, until each has had the event at `last` (0: its hello)."""
    with selectors.DefaultSelector() as selector:
        for subscriber in subscribers:
            # The first frames may have come with the handshake.
            subscriber.parse()
            if not done(subscriber, last):
                selector.register(subscriber.sock, selectors.EVENT_READ, subscriber)
        while selector.get_map():
            ready = selector.select(30)
            assert ready, f"{len(selector.get_map())} wait in vain for {last}"
            for key, _ in ready:
                key.data.read()
                if done(key.data, last):
                    selector.unregister(key.fileobj)


def done(subscriber: Subscriber, last: int) -> bool:
    if last == 0:
        return subscriber.greeted
    return bool(subscriber.seqs) and subscriber.seqs[-1] >= last


@contextmanager
def subscribed(port: int, count: int) -> Iterator[list[Subscriber]]:
    """Clients of s1; the first of them have little room in the kernel."""
    token = jwt.encode(
        {"sub": "u", "sessions": ["s1"], "scope": "read", "exp": 2**33}, SECRET, algorithm="HS256"
    )
    upgrade = request("/ws/s1", f"Authorization: Bearer {token}", host=f"127.0.0.1:{port}")
    made: list[Subscriber] = []
    try:
        for number in range(count):
            sock = socket.socket()
            if number < STALLED:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            sock.connect(("127.0.0.1", port))
            made.append(Subscriber(sock))
            made[-1].send(upgrade)
            assert made[-1].head().startswith(b"HTTP/1.1 101 ")
        yield made
    finally:
        for subscriber in made:
            subscriber.sock.close()


@asynccontextmanager
async def serving(valkey: Server) -> AsyncIterator[tuple[int, int]]:
    """The pid and port of a hub process that lets so many in."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("JOBCAST_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "from hub.cli import app; app()", "hub", "--port", "0"),
        *("--redis-url", valkey.url, "--log-level", "warning"),
        *("--connections-per-session", "2000", "--connect-rate", "100000"),
        stdout=asyncio.subprocess.PIPE,
        env={**own, "JOBCAST_SECRET": SECRET},
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(30):
            line = await process.stdout.readline()
        yield process.pid, int(line.rpartition(b":")[2])
    finally:
        process.terminate()
        await process.wait()


def resident(pid: int) -> int:
    """Bytes of memory that a process has resident."""
    with open(f"/proc/{pid}/statm", "rb") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def publish(store: Store, count: int) -> None:
    params = json.dumps({"pad": "x" * PAD}).encode()
    for _ in range(count):
        await store.enqueue(NewJob(session_id="s1", task="work", params=params))


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_those_that_stop_reading_cost_little_and_miss_nothing(
    valkey: Server, store: Store
) -> None:
    async with serving(valkey) as (pid, port):
        with subscribed(port, SUBSCRIBERS) as everyone:
            stalled, others = everyone[:STALLED], everyone[STALLED:]
            await asyncio.to_thread(read_until, everyone, 0)
            await publish(store, 20)
            await asyncio.to_thread(read_until, everyone, 20)
            before = resident(pid)

            for last in range(20 + ROUND, 21 + EVENTS, ROUND):
                # As fast as those go that read, so that they are none of the slow ones.
                await publish(store, ROUND)
                await asyncio.to_thread(read_until, others, last)
            grown = resident(pid) - before
            assert grown < STALLED * EACH, f"{grown / STALLED / 1024:.0f} KiB each"
            # Else this says nothing: far more was published than the kernel and the bound hold.
            assert all(subscriber.seqs[-1] == 20 for subscriber in stalled)

            await asyncio.to_thread(read_until, stalled, 20 + EVENTS)
            for subscriber in everyone:
                assert subscriber.seqs == list(range(1, 21 + EVENTS))
            print(f"{grown / STALLED / 1024:.1f} KiB for each that stopped reading")
