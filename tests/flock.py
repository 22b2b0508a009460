"""Many subscribers at once, as cheap as they can be: each keeps its cursor, goes where it is sent
and comes back, and knows which events it had."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

#: How long a client waits where nobody told it, and the longest that it obeys, in seconds.
PAUSE = 0.1


class Bird:
    """One of them. `numbers` are those of the lifecycle events it had, in the order of arrival."""

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id
        self.cursor = ""
        self.numbers: list[int] = []
        self.hellos = 0
        self.snapshots = 0
        self.goodbyes: list[float] = []
        self.wait = PAUSE


class Flock:
    """`async with Flock(urls, sessions, token)`: one subscriber for each of `sessions` (an id may
    be there often). They know every hub and try the next one when theirs is gone."""

    def __init__(self, urls: Sequence[str], sessions: Sequence[str], token: str) -> None:
        self._urls = [f"ws{url.removeprefix('http')}" for url in urls]
        self._headers = {"Authorization": f"Bearer {token}"}
        self._tasks: list[asyncio.Task[None]] = []
        self._changed = asyncio.Event()
        self.birds = [Bird(session_id) for session_id in sessions]

    async def __aenter__(self) -> Flock:
        for number, bird in enumerate(self.birds):
            self._tasks.append(asyncio.create_task(self._fly(bird, number)))
        await self._until(lambda: all(bird.hellos for bird in self.birds), "a first hello for all")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def all_at(self, tops: dict[str, str], timeout: float = 60) -> None:
        """Returns once each has its session's last event."""
        await self._until(
            lambda: all(bird.cursor == tops[bird.session_id] for bird in self.birds),
            "the last event of every session",
            timeout,
        )

    async def _until(self, condition: Any, what: str, timeout: float = 60) -> None:
        try:
            async with asyncio.timeout(timeout):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"never came: {what}") from None

    async def _fly(self, bird: Bird, number: int) -> None:
        nothing = asyncio.Event()
        while True:
            url = self._urls[number % len(self._urls)]
            after = f"?after={bird.cursor}" if bird.cursor else ""
            try:
                async with connect(
                    f"{url}/ws/{bird.session_id}{after}",
                    additional_headers=self._headers,
                    open_timeout=30,
                    ping_interval=None,
                    compression=None,
                ) as socket:
                    async for frame in socket:
                        self._take(bird, json.loads(frame))
            except (OSError, WebSocketException, TimeoutError):
                pass
            number += 1
            # Nothing announces when a hub is back: wait as long as was asked.
            try:
                async with asyncio.timeout(bird.wait):
                    await nothing.wait()
            except TimeoutError:
                bird.wait = PAUSE

    def _take(self, bird: Bird, frame: dict[str, Any]) -> None:
        match frame["type"]:
            case "hello":
                bird.hellos += 1
                bird.cursor = frame["cursor"]
                bird.snapshots += bird.hellos > 1 and not frame["resumed"]
            case "goodbye":
                bird.wait = frame["reconnect_after"]
                bird.goodbyes.append(bird.wait)
            case _ if "id" in frame:
                bird.cursor = frame["id"]
                bird.numbers.append(int(bird.cursor.split("-")[0]))
        self._changed.set()
