"""Where one subscription stands."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal, Protocol

from hub.events import Publication, seq
from hub.feed.batch import Batch, ends

#: Jobs of which a subscriber remembers what it skipped. Past that it gets a hello instead.
MARKS = 256
#: Of those that have skipped nothing, which are nearly all: shared, and never added to.
NO_PROGRESS: Final[dict[bytes, None]] = {}
NO_GAPS: Final[dict[bytes, tuple[int, int]]] = {}


class Outlet(Protocol):
    """What carries bytes to a subscriber: one WebSocket or SSE stream. No call may block."""

    def accepts(self, size: int) -> bool:
        """Whether `size` more bytes stay within its bound. True whenever nothing is unsent."""
        ...

    def room(self) -> int:
        """How many bytes its bound leaves."""
        ...

    def write(self, subscriber: Subscriber, batch: Batch) -> None:
        """Takes a batch that it accepted."""
        ...

    def greet(self, subscriber: Subscriber, hello: bytes, cursor: bytes, over: bool) -> None:
        """Takes a `hello`, whatever its size, and its cursor. `over`: nothing follows it."""
        ...

    def kick(self) -> None:
        """Those of its subscribers that are behind may be able to go on."""
        ...

    def gone(self, subscriber: Subscriber) -> None:
        """The session (or the one job that was asked for) was deleted; this was the last of it."""
        ...


class Subscriber:
    """One subscription: a position and, while it is behind, marks of what it skipped.

    States: `starting` (needs a hello: `after` is where it wants to resume, None for a snapshot),
    `live` (gets what is published), `lagging` (gets what it missed once its outlet has room),
    `ended`. `cursor` is that of the last lifecycle event that was handed over, or of the hello.
    `job` restricts it to one job. `ref` is repeated in the hello. `again` says that marks were
    lost since it last began to start."""

    __slots__ = (
        "after",
        "again",
        "cursor",
        "gaps",
        "job",
        "outlet",
        "progress",
        "ref",
        "session_id",
        "state",
    )

    def __init__(
        self,
        session_id: str,
        outlet: Outlet,
        *,
        after: bytes | None = None,
        job: bytes | None = None,
        ref: object = None,
    ) -> None:
        self.session_id = session_id
        self.outlet = outlet
        self.after = after
        self.job = job
        self.ref = ref
        self.state: Literal["starting", "live", "lagging", "ended"] = "starting"
        self.cursor = b""
        self.again = False
        self.progress = NO_PROGRESS
        self.gaps = NO_GAPS

    def skip(self, publications: Iterable[Publication]) -> None:
        """Marks what it will not get: the latest progress and the extent of logs, by job.

        When the marks outgrow their bound, it starts again where it is: the hello brings jobs,
        and with them their progress and the length of their logs, up to date."""
        for publication in publications:
            key = publication.key
            if self.job is not None and key != self.job:
                continue
            if publication.kind == "P":
                if self.progress is NO_PROGRESS:
                    self.progress = {}
                self.progress[key] = None
            elif publication.kind == "G":
                first, last = self.gaps.get(key, (publication.first, publication.last))
                if self.gaps is NO_GAPS:
                    self.gaps = {}
                self.gaps[key] = (min(first, publication.first), max(last, publication.last))
            elif ends(publication) and self._has(publication):
                # Nothing about a job follows its end, which says how far the log went.
                self.progress.pop(key, None)
                self.gaps.pop(key, None)
        if len(self.progress) > MARKS or len(self.gaps) > MARKS:
            self.restart(self.after if self.state == "starting" else self.cursor)

    def takes_all(self, size: int) -> bool:
        """Whether it gets lifecycle events of this size as they are, with nothing left out or put
        between them."""
        return self.job is None and not self.gaps and size <= self.outlet.room()

    def _has(self, event: Publication) -> bool:
        """Whether its hello has told, or will tell, of an event that is not sent to it."""
        return self.state == "starting" or seq(event.cursor) <= seq(self.cursor)

    def restart(self, after: bytes | None) -> None:
        """Needs a hello again: at `after` where that can be, else with a snapshot."""
        self.state = "starting"
        self.after = after
        self.again = True
        self.unmark()

    def unmark(self) -> None:
        """Forgets what it skipped."""
        self.progress = NO_PROGRESS
        self.gaps = NO_GAPS
