"""The frames of RFC 6455, as a server makes and reads them. No I/O, no extensions."""

from __future__ import annotations

import codecs
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:

    def apply_mask(data: bytes | bytearray, mask: bytes | bytearray) -> bytes: ...

else:
    try:
        from websockets.speedups import apply_mask
    except ImportError:  # an interpreter without the C extension
        from websockets.utils import apply_mask

CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

NO_STATUS: Final = 1005
PROTOCOL_ERROR: Final = 1002
NOT_UTF8: Final = 1007
TOO_BIG: Final = 1009

_KNOWN: Final = frozenset({CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG})
_CONTROL_BYTES: Final = 125
_REASON_BYTES: Final = _CONTROL_BYTES - 2
#: Registered codes that an endpoint may send (§7.4.1, IANA), beside 3000–4999.
_CODES: Final = frozenset({*range(1000, 1004), *range(1007, 1015)})

_Decoder: Final[Any] = codecs.getincrementaldecoder("utf-8")


class Violation(Exception):
    """The peer broke the protocol: the connection fails with `code` and `reason`."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Message(NamedTuple):
    """A whole text or binary message, or a control frame. Text is valid UTF-8."""

    opcode: int
    data: bytes


# ------------------------------------------------------------------ what a server sends


def frame(opcode: int, payload: bytes) -> bytes:
    """One unmasked, unfragmented frame (§5.2)."""
    length = len(payload)
    if length < 126:
        return b"%c%c%b" % (0x80 | opcode, length, payload)
    if length < 65_536:
        return b"%c\x7e%b%b" % (0x80 | opcode, length.to_bytes(2, "big"), payload)
    return b"%c\x7f%b%b" % (0x80 | opcode, length.to_bytes(8, "big"), payload)


def text_frames(bodies: Iterable[bytes]) -> bytes:
    """A text frame for each body, joined. The bodies must be UTF-8."""
    return b"".join([frame(TEXT, body) for body in bodies])


def close_frame(code: int, reason: str = "") -> bytes:
    """A Close frame; a reason longer than it has room for is cut. NO_STATUS makes it empty."""
    if code == NO_STATUS:
        return frame(CLOSE, b"")
    cut = reason.encode()[:_REASON_BYTES].decode(errors="ignore").encode()
    return frame(CLOSE, code.to_bytes(2, "big") + cut)


# ------------------------------------------------------------------ what a client sends


def close_of(payload: bytes) -> tuple[int, str]:
    """The code and reason of a Close frame (§5.5.1). Raises Violation."""
    if not payload:
        return NO_STATUS, ""
    if len(payload) == 1:
        raise Violation(PROTOCOL_ERROR, "a close code has two bytes")
    code = int.from_bytes(payload[:2], "big")
    if code not in _CODES and not 3000 <= code <= 4999:
        raise Violation(PROTOCOL_ERROR, f"{code} is no close code")
    try:
        return code, payload[2:].decode()
    except UnicodeDecodeError:
        raise Violation(NOT_UTF8, "the reason is not UTF-8") from None


class Reader:
    """Turns what a client sends into messages: `feed`, then `next` until it is None.

    Holds at most one message of `limit` bytes, a frame's head and the bytes fed last. What is
    wrong with a frame is told once its head is here, and with text at the end of each frame."""

    __slots__ = ("_at", "_buffer", "_decoder", "_limit", "_message", "_opcode")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer: bytes | bytearray = b""
        self._at = 0
        #: Of a fragmented message: its opcode (0: there is none), content, and state of UTF-8.
        self._opcode = 0
        self._message: bytearray | None = None
        self._decoder: Any = None

    @property
    def idle(self) -> bool:
        """Whether it holds nothing: another one would do as well."""
        return not self._buffer and self._message is None

    def feed(self, data: bytes) -> None:
        """Takes bytes as they come."""
        if not self._buffer:
            self._buffer = data
            return
        if not isinstance(self._buffer, bytearray):
            # Grows in place: a message that comes a byte at a time must not cost its square.
            self._buffer = bytearray(memoryview(self._buffer)[self._at :])
            self._at = 0
        self._buffer += data

    def next(self) -> Message | None:
        """The next message; None when it is not whole yet. Raises Violation."""
        while True:
            head = self._head()
            if head is None:
                return None
            first, start, end = head
            buffer = self._buffer
            payload = apply_mask(buffer[start:end], buffer[start - 4 : start])
            if end == len(buffer):
                self._buffer, self._at = b"", 0
            else:
                self._at = end
            message = self._frame(first & 0x0F, bool(first & 0x80), payload)
            if message is not None:
                return message

    def _head(self) -> tuple[int, int, int] | None:
        """The first byte of the next frame and where its payload starts and ends."""
        buffer, at = self._buffer, self._at
        have = len(buffer) - at
        if have < 2:
            self._rest()
            return None
        first, second = buffer[at], buffer[at + 1]
        self._check(first, second)
        length, head = second & 0x7F, 6
        if length > 125:
            wide = 2 if length == 126 else 8
            if have < 2 + wide:
                self._rest()
                return None
            length, head = int.from_bytes(buffer[at + 2 : at + 2 + wide], "big"), 6 + wide
            if length < (126 if wide == 2 else 65_536):
                raise Violation(PROTOCOL_ERROR, "a length takes more bytes than it needs")
            if length >> 63:
                raise Violation(PROTOCOL_ERROR, "a length has its highest bit set")
        held = 0 if self._message is None else len(self._message)
        if first & 0x0F < CLOSE and held + length > self._limit:
            raise Violation(TOO_BIG, f"the message has more than {self._limit} bytes")
        if have < head + length:
            self._rest()
            return None
        return first, at + head, at + head + length

    def _rest(self) -> None:
        """Lets go of what has been read."""
        if self._at:
            if isinstance(self._buffer, bytearray):
                del self._buffer[: self._at]
            else:
                self._buffer = self._buffer[self._at :]
            self._at = 0

    def _check(self, first: int, second: int) -> None:
        opcode = first & 0x0F
        if first & 0x70:
            raise Violation(PROTOCOL_ERROR, "a reserved bit is set")
        if opcode not in _KNOWN:
            raise Violation(PROTOCOL_ERROR, f"{opcode} is no opcode")
        if not second & 0x80:
            raise Violation(PROTOCOL_ERROR, "a client's frame must be masked")
        if opcode >= CLOSE:
            if not first & 0x80:
                raise Violation(PROTOCOL_ERROR, "a control frame is fragmented")
            if second & 0x7F > _CONTROL_BYTES:
                raise Violation(PROTOCOL_ERROR, "a control frame has more than 125 bytes")
        elif opcode == CONTINUATION and not self._opcode:
            raise Violation(PROTOCOL_ERROR, "there is nothing to continue")
        elif opcode != CONTINUATION and self._opcode:
            raise Violation(PROTOCOL_ERROR, "a message begins before the last one has ended")

    def _frame(self, opcode: int, final: bool, payload: bytes) -> Message | None:
        if opcode >= CLOSE:
            return Message(opcode, payload)
        if opcode != CONTINUATION and final:
            if opcode == TEXT:
                self._utf8(payload, None, final=True)
            return Message(opcode, payload)
        if opcode != CONTINUATION:
            self._opcode, self._message = opcode, bytearray()
            self._decoder = _Decoder() if opcode == TEXT else None
        assert self._message is not None
        if self._opcode == TEXT:
            self._utf8(payload, self._decoder, final=final)
        self._message += payload
        if not final:
            return None
        message = Message(self._opcode, bytes(self._message))
        self._opcode, self._message, self._decoder = 0, None, None
        return message

    @staticmethod
    def _utf8(payload: bytes, decoder: Any, *, final: bool) -> None:
        try:
            if decoder is None:
                payload.decode()
            else:
                decoder.decode(payload, final)
        except UnicodeDecodeError:
            raise Violation(NOT_UTF8, "the text is not UTF-8") from None
