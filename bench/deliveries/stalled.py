"""Clients that stop reading: what they cost the hub, and the others."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator, Sequence
from typing import Final

from bench.deliveries.kit import Kit
from bench.deliveries.load import Stage, stage
from bench.deliveries.measures import LOAD, Found, paced, turns
from bench.deliveries.systems import SYSTEMS, System

READING: Final = 800
STALLED: Final = 200
SECONDS: Final = 30.0
#: Bytes that the kernel keeps for one that does not read, so that it soon is behind.
RECEIVES: Final = 4_096


def stalled(kit: Kit, key: str, _: Sequence[int]) -> Found:
    """The latency of 800 clients at 60 % load for half a minute, alone and beside 200 that do not
    read; and what the hub's memory grows by while they do not."""
    found: dict[str, float] = {}
    with stage(kit, SYSTEMS[key](kit)) as play:
        play.clients.connect(READING)
        most, _wall = turns(play, 1)
        rate = LOAD * most / (READING + STALLED)
        _measure(play, rate, "alone", found)
        with _silent(play.system):
            before = play.system.process.resident()
            _measure(play, rate, "beside", found)
            found["each"] = (play.system.process.resident() - before) / STALLED
    found["rate"] = rate
    found["ratio"] = found["beside p99"] / found["alone p99"]
    return {key: found}


def _measure(play: Stage, rate: float, name: str, found: dict[str, float]) -> None:
    paced(play, rate, SECONDS)
    measured = play.clients.latency()
    found[f"{name} p50"] = measured.p50
    found[f"{name} p99"] = measured.p99


@contextlib.contextmanager
def _silent(system: System) -> Iterator[None]:
    """So many clients that have subscribed, and read nothing any more."""
    [(path, token), *_] = system.targets()
    upgrade = (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        f"Authorization: Bearer {token}\r\n\r\n"
    ).encode()
    with contextlib.ExitStack() as stack:
        for _ in range(STALLED):
            client = stack.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVES)
            client.connect(("127.0.0.1", system.port))
            client.sendall(upgrade)
            if not client.recv(12).endswith(b"101"):
                raise OSError("a client was not let in")
        # What belongs to handshakes is gone then.
        time.sleep(1)
        yield
