"""Writing to sockets past their transports, to many of them in one loop that is C's."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator
from itertools import repeat
from socket import SocketType
from typing import Protocol


class Keeper(Protocol):
    """Whose transport it is."""

    def left_over(self, rest: bytes) -> None:
        """Sends what the kernel did not take. Must not raise."""
        ...


class Direct(SocketType):
    """The socket of a transport, which alone closes it; `keeper` has that transport.

    Write to it only while the transport holds nothing, and not after `connection_lost`: asyncio's
    and uvloop's transports close it right after that, and then it may be somebody else's."""

    __slots__ = ("keeper",)

    keeper: Keeper

    def __del__(self) -> None:
        self.detach()


def direct(transport: asyncio.Transport, keeper: Keeper) -> Direct | None:
    """The socket of a transport that only hands bytes on; None for others, such as TLS."""
    theirs = transport.get_extra_info("socket")
    if theirs is None or transport.get_extra_info("sslcontext") is not None:
        return None
    ours = Direct(theirs.family, theirs.type, theirs.proto, theirs.fileno())
    ours.setblocking(False)
    ours.keeper = keeper
    return ours


def write_all(sockets: Collection[Direct], data: bytes) -> None:
    """Writes the same bytes to all. What a kernel buffer does not take, its keeper gets; and all of
    it where something is wrong with a connection, which its transport finds out by itself."""
    every = list(sockets)
    taken: list[int] = []
    # No bytecode runs for each of them: that costs more than what is not the kernel's otherwise.
    sending: Iterator[int] = map(_send, every, repeat(data))
    while len(taken) < len(every):
        try:
            taken.extend(sending)
        except OSError:
            taken.append(0)
    size = len(data)
    if taken.count(size) < len(taken):
        for sock, count in zip(every, taken, strict=True):
            if count < size:
                sock.keeper.left_over(data[count:])


_send = SocketType.send
