"""A bare client of the hub's WebSocket, and a worker's hand to make things happen."""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from hub.jobs import NewJob
from hub.services import Services
from tests.running_hub import Hub


class Wire:
    """One WebSocket. `frames` has all that came so far; what is waited for fails after a minute."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.frames: list[dict[str, Any]] = []

    async def send(self, **frame: Any) -> None:
        await self.socket.send(json.dumps(frame))

    async def frame(self) -> dict[str, Any]:
        """The next frame of whatever type."""
        async with asyncio.timeout(60):
            found: dict[str, Any] = json.loads(await self.socket.recv())
        self.frames.append(found)
        return found

    async def until(self, *types: str, **members: Any) -> dict[str, Any]:
        """The next frame of one of these types and with these members; others are passed over."""
        while True:
            found = await self.frame()
            if found["type"] in types and all(
                found.get(name) == value for name, value in members.items()
            ):
                return found

    async def closed(self) -> int:
        """The close code; frames before it are kept."""
        try:
            while True:
                await self.frame()
        except ConnectionClosed:
            return self.socket.close_code or 0

    @property
    def lifecycle(self) -> list[str]:
        """The ids of all lifecycle events so far."""
        return [frame["id"] for frame in self.frames if "id" in frame]


@asynccontextmanager
async def wire(
    hub: Hub, path: str = "/ws", token: str | None = "", *, narrow: bool = False, **how: Any
) -> AsyncIterator[Wire]:
    """A WebSocket for a token (None: without; "": a good one for s1) in the header. Where it is
    `narrow`, little fits into what the client has not read."""
    if narrow:
        how["sock"] = sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        sock.connect(("127.0.0.1", int(hub.url.rpartition(":")[2])))
        how["max_queue"] = 1
    headers = dict(how.pop("headers", {}))
    if token is not None:
        headers["Authorization"] = f"Bearer {token or hub.token()}"
    url = "ws" + hub.url.removeprefix("http") + path
    how = {"additional_headers": headers, "open_timeout": 60, **how}
    async with connect(url, **how) as connection:
        yield Wire(connection)


class Hands:
    """Queues jobs and works on them."""

    def __init__(self, services: Services) -> None:
        self.store, self.do = services.store, services.transitions
        self._requests = itertools.count()
        self.tokens: dict[str, str] = {}

    async def queue(self, session_id: str = "s1", **fields: Any) -> str:
        made = await self.store.enqueue(NewJob(session_id=session_id, task="work", **fields))
        return made.job.id

    async def start(self, session_id: str = "s1", **fields: Any) -> str:
        """A running job."""
        job_id = await self.queue(session_id, **fields)
        claims = await self.do.claim(
            "w", f"r{next(self._requests)}", queues=["default"], tasks=["work"], lease=60, limit=100
        )
        self.tokens.update({claim.job_id: claim.token for claim in claims})
        return job_id

    async def finish(self, job_id: str, result: Any = None) -> None:
        await self.do.finish(job_id, self.tokens[job_id], "completed", json.dumps(result).encode())

    async def progress(self, job_id: str, percent: float) -> None:
        await self.do.progress(job_id, self.tokens[job_id], b'{"percent":%g}' % percent)

    async def log(self, job_id: str, first: int, *lines: str) -> None:
        made = [json.dumps({"stream": "stdout", "text": line}).encode() for line in lines]
        await self.do.log(job_id, self.tokens[job_id], first, made)


async def stuck(hub: Hub, hands: Hands) -> int:
    """Publishes until a client of s1, which does not read, lags. Returns how many jobs it took."""
    pad = json.dumps({"pad": "x" * 15_000}).encode()
    count = 0
    while hub.services.fanout.counts["lagged"] == 0:
        await hands.queue(params=pad)
        count += 1
        assert count < 900, "never lagged"
    return count
