"""The events that are published: 200 bytes, numbered and stamped, and how Redis is told of them."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable
from typing import Any, Final

import hiredis

from hub import keys

SIZE: Final = 200
#: Entries that a session's stream keeps: more than the hub's 1,000, so that a run on a machine
#: that stalls is slow, and not given a snapshot of what the client counts.
KEPT: Final = 20_000
_TIME: Final = "2026-11-24T12:00:00.000Z"


def cursor(number: int) -> str:
    """The cursor of a session's event. Its nonce follows from its number, so that the load client
    knows it without remembering."""
    return f"{number}-{number * 2654435761 % 10**9}"


def body(session: str, number: int) -> bytes:
    """An event of `SIZE` bytes, stamped with the time of now."""
    head = (
        f'{{"id":"{cursor(number)}","type":"message.agent","session_id":"{session}",'
        f'"time":"{_TIME}","data":{{"message_id":"{number}","text":"'
    )
    tail = f'#{number:012d}@{time.monotonic_ns():020d}"}}}}'
    return f"{head}{'.' * (SIZE - len(head) - len(tail))}{tail}".encode()


def command(*words: bytes) -> bytes:
    """A command as Redis reads it (RESP2)."""
    parts = b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)
    return b"*%d\r\n%b" % (len(words), parts)


def lifecycle(session: str, number: int) -> bytes:
    """The two commands by which the hub's scripts publish a lifecycle event: the entry in the
    session's stream, and the publication."""
    event = body(session, number)
    at = cursor(number).encode()
    header = b"L %b %b - 0" % (at, cursor(number - 1).encode())
    stream = keys.events(session).encode()
    added = (b"XADD", stream, b"MAXLEN", b"~", b"%d" % KEPT, at, b"h", header, b"e", event)
    publication = header + b"\n" + event
    return command(*added) + command(b"SPUBLISH", keys.live(session).encode(), publication)


class Connection:
    """A bare connection on which commands are written without waiting for each reply."""

    def __init__(self, family: int, address: Any) -> None:
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.connect(address)
        self._reader = hiredis.Reader()
        self._unanswered = 0

    def send(self, commands: bytes, count: int) -> None:
        """Writes so many commands, and takes what replies there are."""
        self._socket.sendall(commands)
        self._unanswered += count
        self._take(socket.MSG_DONTWAIT)

    def settle(self) -> None:
        """Returns once all have been answered. Raises what the server says is wrong."""
        while self._unanswered:
            self._take(0)

    def ask(self, commands: Iterable[bytes]) -> None:
        """Writes commands and waits for their replies."""
        whole = list(commands)
        for start in range(0, len(whole), 500):
            chunk = whole[start : start + 500]
            self.send(b"".join(chunk), len(chunk))
            self.settle()

    def _take(self, flags: int) -> None:
        try:
            data = self._socket.recv(1 << 16, flags)
        except BlockingIOError:
            return
        if not data:
            raise ConnectionError("the server of the benchmark has closed the connection")
        self._reader.feed(data)
        while (reply := self._reader.gets()) is not False:
            if isinstance(reply, Exception):
                raise reply
            self._unanswered -= 1

    def close(self) -> None:
        self._socket.close()
