"""The demo's person: says things in a session, and waits for what it shows."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from types import TracebackType
from typing import Final, TypeVar

from hub.client import Client, Event, JobEvent, View
from hub.errors import JobcastError
from hub.jobs import Job
from hub.pages import Message

T = TypeVar("T")

TERMINAL: Final = ("completed", "failed", "cancelled")


class Broken(Exception):
    """The hub did not do what it should; the text says what."""


class Seen(View):
    """A session as it is seen; `events` are the types of each job's lifecycle events, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.events: dict[str, list[str]] = {}

    def take(self, event: Event) -> Job | Message | None:
        if isinstance(event, JobEvent):
            self.events.setdefault(event.job_id, []).append(event.type)
        return super().take(event)


class Person:
    """`async with Person(...)` is subscribed. `on_change` is told what each event changed."""

    def __init__(
        self,
        client: Client,
        session_id: str,
        on_change: Callable[[View, Job | Message], None] = lambda view, changed: None,
    ) -> None:
        self.view = Seen()
        self._client = client
        self._session = session_id
        self._on_change = on_change
        self._changed = asyncio.Condition()
        self._lost: str | None = None
        self._hello = False
        self._reading: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Person:
        self._reading = asyncio.create_task(self._read(), name="demo person")
        try:
            await self.until(lambda view: self._hello or None, "the hub to say hello", 15)
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stop()

    async def say(self, text: str) -> str:
        """Says something; returns the message's id."""
        try:
            return (await self._client.say(self._session, text)).message_id
        except JobcastError as error:
            raise Broken(f"it could not be said: {error}") from error

    async def until(self, found: Callable[[Seen], T | None], what: str, timeout: float) -> T:
        """Returns what `found` finds in the view, once it is not None. Raises Broken, naming
        `what` was waited for, when that takes longer than `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout), self._changed:
                while (value := found(self.view)) is None:
                    if self._lost is not None:
                        raise Broken(f"waiting for {what}, the connection was lost: {self._lost}")
                    await self._changed.wait()
                return value
        except TimeoutError:
            raise Broken(f"waited {timeout:g} s in vain for {what}") from None

    async def _read(self) -> None:
        try:
            async with contextlib.aclosing(self._client.subscribe(self._session)) as events:
                async for event in events:
                    async with self._changed:
                        changed = self.view.take(event)
                        self._hello = True
                        self._changed.notify_all()
                    if changed is not None:
                        self._on_change(self.view, changed)
        except JobcastError as error:
            async with self._changed:
                self._lost = str(error)
                self._changed.notify_all()

    async def _stop(self) -> None:
        assert self._reading is not None
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
