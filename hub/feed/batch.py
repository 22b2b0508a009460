"""Publications that are handed over together, and the bytes of them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hub.events import Publication
from hub.transport.rfc6455 import text_frames

#: What a frame, a chunk and an `id:` line add to a body, in bytes, generously.
OVERHEAD = 64

_TERMINAL_TYPE = re.compile(rb'"type":"job\.(?:completed|failed|cancelled)"')
_TYPE_WITHIN = 120


def ends(publication: Publication) -> bool:
    """Whether it is a job's terminal event. Reads the type where scripts put it, before `data`."""
    return (
        publication.kind == "L"
        and _TERMINAL_TYPE.search(publication.body, 0, _TYPE_WITHIN) is not None
    )


def gap(session_id: str, job: bytes, first: int, last: int, time: str) -> Publication:
    """A `job.log_gap`: the lines `first` to `last` (inclusive) were not sent."""
    body = (
        b'{"type":"job.log_gap","session_id":"%s","job_id":"%s","time":"%s",'
        b'"data":{"from":%d,"to":%d}}' % (session_id.encode(), job, time.encode(), first, last)
    )
    return Publication("G", body, key=job, first=first, last=last)


class Batch:
    """Publications in the order in which they are sent; whoever sends them shares the bytes.

    `size` is about what they take on the wire, `cursor` that of the last lifecycle event, or
    empty when there is none; `after` is where those stand whom it is for."""

    __slots__ = ("_by_job", "_sse", "_texts", "after", "cursor", "frames", "publications", "size")

    #: One WebSocket text frame for each publication, joined. Made when it is first read, and
    #: from then on an attribute like others: it is read once for each delivery.
    frames: bytes

    def __init__(
        self, publications: Sequence[Publication], cursor: bytes = b"", after: bytes = b""
    ) -> None:
        self.publications = publications
        self.after = after
        size = OVERHEAD * len(publications)
        last = b""
        for publication in publications:
            size += len(publication.body)
            # Lifecycle events alone have one.
            last = publication.cursor or last
        self.size = size
        self.cursor = cursor or last
        self._texts: list[str] | None = None
        self._sse: bytes | None = None
        self._by_job: dict[bytes, Batch] | None = None

    def __getattr__(self, name: str) -> bytes:
        if name != "frames":
            raise AttributeError(name)
        self.frames = text_frames([item.body for item in self.publications])
        return self.frames

    @property
    def texts(self) -> list[str]:
        """One text frame's content for each publication."""
        if self._texts is None:
            self._texts = [publication.body.decode() for publication in self.publications]
        return self._texts

    @property
    def sse(self) -> bytes:
        """All of them in the format of Server-Sent Events."""
        if self._sse is None:
            self._sse = b"".join(
                sse(publication.body, publication.cursor) for publication in self.publications
            )
        return self._sse

    def only(self, job: bytes | None) -> Batch:
        """What of it is about one job (None: all), at the same cursor."""
        if job is None:
            return self
        if self._by_job is None:
            self._by_job = {}
        found = self._by_job.get(job)
        if found is None:
            about = [publication for publication in self.publications if publication.key == job]
            found = self._by_job[job] = Batch(about, self.cursor)
        return found


def sse(body: bytes, cursor: bytes = b"") -> bytes:
    """One unnamed event in the format of Server-Sent Events (WHATWG HTML §9.2)."""
    if b"\n" in body or b"\r" in body:
        # A raw line break can only be white space between tokens: JSON escapes those in strings.
        body = body.replace(b"\r", b" ").replace(b"\n", b" ")
    if cursor:
        return b"id: %s\ndata: %s\n\n" % (cursor, body)
    return b"data: %s\n\n" % body
