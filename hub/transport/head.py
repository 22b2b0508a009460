"""The head of an upgrade request (RFC 9112 §3–5, RFC 6455 §4.2.1). No I/O."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import Final
from urllib.parse import unquote

#: A request that is larger, or not as plain as this, is for a server that knows all of HTTP.
PLAIN_BYTES: Final = 16 * 1024
_PLAIN: Final = re.compile(
    rb"GET /[!-~]* HTTP/1\.1\r\n"
    rb"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]++:[^\x00-\x08\x0a-\x1f\x7f]*+\r\n)++"
    rb"\r\n"
)
#: They say that more than a head belongs to the request.
_MORE: Final = frozenset({"content-length", "transfer-encoding", "expect"})

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
VERSION: Final = "13"


class Head:
    """A request's method, target, and headers: their values by name in lower case. All of it is
    Latin-1, so that any bytes can be in it."""

    __slots__ = ("_values", "method", "target")

    def __init__(self, data: bytes) -> None:
        """`data` is a head that is well-formed, without the empty line behind it."""
        first, *lines = data.decode("latin-1").split("\r\n")
        self.method, _, rest = first.partition(" ")
        self.target = rest.rpartition(" ")[0]
        values: dict[str, list[str]] = {}
        for line in lines:
            name, _, value = line.partition(":")
            name, value = name.lower(), value.strip(" \t")
            if name in values:
                values[name].append(value)
            else:
                values[name] = [value]
        self._values = values

    def get(self, name: str) -> str | None:
        """The first value of a header."""
        found = self._values.get(name)
        return None if found is None else found[0]

    def all(self, name: str) -> list[str]:
        """All its values, in order."""
        return self._values.get(name, [])

    def words(self, name: str) -> list[str]:
        """What it lists between commas."""
        return [word.strip(" \t") for value in self.all(name) for word in value.split(",")]

    @property
    def path(self) -> str:
        """The target's path, decoded."""
        path = self.target.partition("?")[0]
        return unquote(path) if "%" in path else path

    @property
    def query(self) -> str:
        """What follows its `?`."""
        return self.target.partition("?")[2]

    @property
    def asks_for_websocket(self) -> bool:
        """Whether it asks for nothing else than an upgrade to WebSocket."""
        return (
            [value.lower() for value in self.all("upgrade")] == ["websocket"]
            and "upgrade" in [word.lower() for word in self.words("connection")]
            and _MORE.isdisjoint(self._values)
        )

    @property
    def accept(self) -> str | None:
        """What answers its key; None where it has not exactly one, of 16 bytes."""
        keys = self.all("sec-websocket-key")
        if len(keys) != 1:
            return None
        key = keys[0].encode("latin-1")
        try:
            if len(binascii.a2b_base64(key, strict_mode=True)) != 16:
                return None
        except binascii.Error:
            return None
        digest = hashlib.sha1(key + _GUID, usedforsecurity=False).digest()
        return base64.b64encode(digest).decode()


def plain_upgrade(data: bytes) -> tuple[Head, bytes] | None:
    """The head of an upgrade request that is whole, well-formed and says nothing unusual, and what
    came behind it; None for everything else."""
    match = _PLAIN.match(data, 0, PLAIN_BYTES)
    if match is None:
        return None
    end = match.end()
    head = Head(data[: end - 4])
    return (head, data[end:]) if head.asks_for_websocket else None
