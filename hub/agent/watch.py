"""Hearing of what happens to a session's jobs, so that a wait polls nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING

from hub.errors import JobcastError
from hub.events import Publication

if TYPE_CHECKING:
    from hub.client import Client
    from hub.fanout import Fanout

log = logging.getLogger("jobcast.agent")

#: Called with the id of a job that has changed, or None where any may have. It must not block.
Heard = Callable[[str | None], None]
#: Calls Heard for a session's jobs from its entry to its exit, and with None once it listens.
Watcher = Callable[[str, Heard], AbstractAsyncContextManager[None]]


def watching(fanout: Fanout) -> Watcher:
    """Within a hub."""

    def watch(session_id: str, heard: Heard) -> AbstractAsyncContextManager[None]:
        def published(publication: Publication) -> None:
            if publication.kind == "X":
                heard(None)
            elif publication.kind in ("L", "P"):
                heard(publication.key.decode())

        return fanout.listening(session_id, published)

    return watch


def watching_over(client: Client) -> Watcher:
    """Over a hub's WebSocket."""
    from hub.client import Hello, JobEvent, ProgressEvent

    async def follow(session_id: str, heard: Heard) -> None:
        try:
            async for event in client.subscribe(session_id):
                if isinstance(event, Hello):
                    heard(None)
                elif isinstance(event, JobEvent | ProgressEvent):
                    heard(event.job_id)
        except JobcastError as error:
            # Whoever waits looks again when the time is over, and is told the same then.
            log.warning("session %s can no longer be followed: %s", session_id, error)

    @asynccontextmanager
    async def watch(session_id: str, heard: Heard) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(follow(session_id, heard))
            try:
                yield
            finally:
                task.cancel()

    return watch
