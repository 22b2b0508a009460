"""What is said to all workers over pub/sub: only nudges, since nothing depends on their arrival."""

from __future__ import annotations

from collections.abc import Callable

from hub import keys
from hub.channels import Channels
from worker.children import Children

_CONTROL = keys.CONTROL.encode()


class Control:
    """A listener of the channel `control`: `cancel <job id>` and `answer <job id>` of a job that
    this worker holds have `nudge` called, which asks Redis what is true. What is said on the
    channels of sessions is for `children`."""

    def __init__(self, holds: Callable[[str], bool], nudge: Callable[[], None]) -> None:
        self._holds = holds
        self._nudge = nudge
        self.children: Children | None = None

    def listen(self, channels: Channels) -> None:
        """Subscribes."""
        channels.add(_CONTROL)

    def published(self, channel: bytes, data: bytes) -> None:
        """Called with what was said."""
        if channel != _CONTROL:
            if self.children is not None:
                self.children.published(data)
            return
        word, _, job_id = data.decode(errors="replace").partition(" ")
        if word in ("cancel", "answer") and self._holds(job_id):
            self._nudge()

    def subscribed(self, channel: bytes) -> None:
        """Something may have been said before: find out."""
        self._nudge()
        if self.children is not None:
            self.children.subscribed()

    def deaf(self) -> None:
        """The next heartbeats bring what is missed."""
