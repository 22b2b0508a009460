"""A subscription to a session without its I/O: where it stands, what it asks for, and when it
comes back. A driver connects to `path`, hands over what it receives, sends what is in `unsent`,
and sleeps as long as `lost` says."""

from __future__ import annotations

from collections import deque
from typing import Any, Final
from urllib.parse import quote, urlencode

import msgspec

from hub.client.call import backoff
from hub.client.errors import Unexpected, error_of_close
from hub.client.events import Event, Frame, Hello, JobEvent, MessageEvent, event_of
from hub.errors import Refused

#: How long the hub may take to say hello, and how long it may be silent (it speaks every 20 s).
HELLO_SECONDS: Final = 15.0
SILENCE_SECONDS: Final = 60.0
FIRST_WAIT: Final = 0.5
#: Frames larger than this end the connection: a hello has at most about 512 KiB.
MAX_FRAME: Final = 4 * 1024 * 1024


class Dropped(Exception):
    """This connection is of no more use; come back. `str()` says why."""


class Subscription:
    """One session's events, over as many connections as it takes.

    `cursor` is the position: whatever it is, a later subscription may go on after it, in another
    process too."""

    def __init__(self, session_id: str, after: str | None = None) -> None:
        self.session_id = session_id
        self.cursor = after
        self.unsent: deque[str] = deque()
        self._failures = 0
        self._come_back_after: float | None = None
        self._greeted = False
        #: The `ref` of a subscribe that is not answered yet. What comes before its answer comes
        #: again after it, or is in its snapshot.
        self._asked: int | None = None
        self._asks = 0

    @property
    def path(self) -> str:
        """Where to connect to now, below the hub's address."""
        query = f"?{urlencode({'after': self.cursor})}" if self.cursor is not None else ""
        return f"/ws/{quote(self.session_id, safe='')}{query}"

    @property
    def patience(self) -> float:
        """Seconds of silence after which the connection is dead."""
        return SILENCE_SECONDS if self._greeted and self._asked is None else HELLO_SECONDS

    def opened(self) -> None:
        """A connection stands."""
        self._greeted, self._asked = False, None
        self._come_back_after = None
        self.unsent.clear()

    def received(self, data: str | bytes) -> Event | None:
        """The event that a frame is, if it is one to be told. Raises Dropped."""
        raw = data.encode() if isinstance(data, str) else data
        try:
            frame = msgspec.json.decode(raw, type=Frame)
            event = event_of(frame, raw)
        except msgspec.MsgspecError as error:
            raise Dropped(f"a frame cannot be read: {error}") from None
        match frame.type:
            case "heartbeat":
                self._compare(frame.cursors.get(self.session_id))
            case "goodbye":
                self._come_back_after = frame.reconnect_after
            case "error":
                raise Dropped(frame.detail or f"the hub refused with code {frame.code}")
        if isinstance(event, Hello):
            return self._hello(event, frame.ref)
        if isinstance(event, JobEvent | MessageEvent):
            if self._asked is not None:
                return None
            self.cursor = event.cursor
        return event

    def _hello(self, hello: Hello, ref: Any) -> Hello | None:
        if self._asked is not None and ref != self._asked:
            return None
        self._asked, self._greeted, self._failures = None, True, 0
        self.cursor = hello.cursor
        return hello

    def _compare(self, cursor: str | None) -> None:
        """A heartbeat comes after all that it covers: another cursor than ours means a loss."""
        if cursor is None or cursor == self.cursor or self._asked is not None or not self._greeted:
            return
        self._asks += 1
        self._asked = self._asks
        frame = {
            "type": "subscribe",
            "session_id": self.session_id,
            "after": self.cursor,
            "ref": self._asked,
        }
        self.unsent.append(msgspec.json.encode(frame).decode())

    def lost(self, code: int | None = None, reason: str = "") -> float:
        """The connection ended, with a close code where there was one, or never stood. Returns
        the seconds until the next try; raises where coming back is no use."""
        error = None if code is None else error_of_close(code, reason)
        if error is not None:
            raise error
        self._failures += 1
        after, self._come_back_after = self._come_back_after, None
        return backoff(self._failures, FIRST_WAIT) if after is None else after

    def refused(self, status: int) -> float:
        """The upgrade was answered with an HTTP status. As `lost`."""
        if status == 403:
            raise Refused(
                "The WebSocket was refused with 403: there is no hub at this address, or it does"
                " not serve this host (JOBCAST_PUBLIC_URL)."
            )
        if 400 <= status < 500 and status not in (408, 425, 429):
            raise Unexpected(
                f"the WebSocket was refused with {status}: check the URL, and proxies in between",
                status,
            )
        return self.lost()
