"""Bytes that are no WebSocket, or nearly one: each ends its own connection and nothing else."""

from __future__ import annotations

import random
from contextlib import suppress

import pytest

from tests.integration.transport.raw import (
    CONT,
    PING,
    TEXT,
    WORDS,
    Server,
    close,
    ends_well,
    frame,
)


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
