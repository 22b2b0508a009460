"""Whom a wire tells what happens to it."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Final, Protocol


class Owner(Protocol):
    """Whom a wire tells. No call may block or raise."""

    def received(self, raw: bytes | None) -> Coroutine[Any, Any, None] | None:
        """A text message came, or a binary one (None). What has to be awaited before the next
        message is taken is returned."""
        ...

    def start(self, work: Coroutine[Any, Any, None]) -> object:
        """Runs what has to be awaited, in a task that somebody owns."""
        ...

    def drained(self) -> None:
        """Nothing is unsent any more (told once after each `tell_drained`)."""
        ...

    def free(self) -> None:
        """Nothing is unsent: it may `board`."""
        ...

    def leaving(self) -> None:
        """The client ends it, or broke the protocol: nothing more will be sent. Whoever owns the
        wire sees to it that `cut` is called where the end takes too long."""
        ...

    def ended(self) -> None:
        """The connection is gone."""
        ...


class Nobody:
    """The owner of what is over. The real one is let go of, so that the two are freed at once and
    not when the garbage collector finds them."""

    def received(self, raw: bytes | None) -> None: ...

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        work.close()

    def drained(self) -> None: ...

    def free(self) -> None: ...

    def leaving(self) -> None: ...

    def ended(self) -> None: ...


NOBODY: Final = Nobody()
