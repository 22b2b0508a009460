"""Bytes of a command's output into lines of text, in bounded memory. Pure."""

from __future__ import annotations

from collections.abc import Iterator

MAX_LINE = 8 * 1024


class LineSplitter:
    """Cuts one stream into lines.

    A line ends at `\\n` or `\\r\\n`; a lone `\\r` stays in the text, since it rewrites the line on
    a terminal and the page shows it so. Text is UTF-8, bad bytes become U+FFFD. No line is longer
    than `limit` bytes of UTF-8: of a longer one the head is kept and ` …[n more bytes]` says what
    was dropped; where `\\r` rewrote it, what a terminal would have overwritten is dropped first.
    """

    def __init__(self, limit: int = MAX_LINE) -> None:
        if limit < 64:
            raise ValueError(f"limit must be at least 64 bytes, not {limit}")
        self._limit = limit
        self._held = bytearray()
        self._dropped = 0

    def feed(self, data: bytes) -> Iterator[str]:
        """Yield the lines that `data` completes. Exhaust it before feeding more."""
        start = 0
        while (end := data.find(b"\n", start)) >= 0:
            self._hold(data[start:end])
            yield self._take()
            start = end + 1
        self._hold(data[start:])

    def flush(self) -> Iterator[str]:
        """Yield the last line, if the stream ended without a newline."""
        if self._held or self._dropped:
            yield self._take()

    def _hold(self, part: bytes) -> None:
        held = self._held
        held += part
        if len(held) > self._limit:
            # Not the very last byte: it may be the half of a \r\n.
            rewritten = held.rfind(b"\r", 0, -1) + 1
            if rewritten:
                del held[:rewritten]
                self._dropped = 0
            if len(held) > self._limit:
                self._dropped += len(held) - self._limit
                del held[self._limit :]

    def _take(self) -> str:
        held, dropped = self._held, self._dropped
        self._held, self._dropped = bytearray(), 0
        if held.endswith(b"\r"):
            del held[-1]
        text = held.decode("utf-8", "replace")
        # Replacement characters take three bytes each, so it is the text that has to be measured.
        encoded = text.encode()
        if not dropped and len(encoded) <= self._limit:
            return text
        room = self._limit - 40
        kept = encoded[:room].decode("utf-8", "ignore")
        dropped += max(0, len(encoded) - len(kept.encode()))
        return f"{kept} …[{dropped} more bytes]"
