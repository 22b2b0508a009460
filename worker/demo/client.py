"""A small client of the hub: one session over its WebSocket, messages over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, TypeVar

import httpcore2
import msgspec
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

TAIL: Final = 6
T = TypeVar("T")

TERMINAL: Final = ("completed", "failed", "cancelled")


class Broken(Exception):
    """The hub did not do what it should; the text says what."""


class View:
    """A session as a client holds it. The whole reducer is in `take`.

    `events` are the types of each job's lifecycle events, in their order; `tails` the last lines
    of each log."""

    def __init__(self) -> None:
        self.jobs: dict[str, dict[str, Any]] = {}
        self.messages: dict[str, dict[str, Any]] = {}
        self.tails: dict[str, deque[str]] = {}
        self.events: dict[str, list[str]] = {}

    def take(self, frame: dict[str, Any]) -> str | None:
        """Takes a frame; returns the id of the job or the message that it changed."""
        kind = str(frame.get("type", ""))
        if kind == "hello":
            self.jobs = {job["id"]: job for job in frame["jobs"]}
            self.messages = {said["message_id"]: said for said in frame["messages"]}
            return None
        if kind in ("message.user", "message.agent"):
            message = {**frame["data"], "role": kind.removeprefix("message.")}
            self.messages[message["message_id"]] = message
            return str(message["message_id"])
        if not kind.startswith("job."):
            return None
        job_id = str(frame["job_id"])
        if kind == "job.log":
            lines = self.tails.setdefault(job_id, deque(maxlen=TAIL))
            shown = (line["text"].rstrip() for line in frame["data"]["lines"])
            lines.extend(line for line in shown if line and not line.startswith("::jobcast "))
        elif kind != "job.log_gap":
            job = self.jobs.setdefault(job_id, {"rev": 0})
            if frame["rev"] <= job["rev"]:
                return None
            job |= frame["data"] | {"rev": frame["rev"]}
            if kind != "job.progress":
                self.events.setdefault(job_id, []).append(kind)
        return job_id


class Client:
    """`async with Client(...)` is subscribed. `on_change` is told what each frame changed."""

    def __init__(
        self,
        url: str,
        session_id: str,
        token: str,
        on_change: Callable[[View, str], None] = lambda view, changed: None,
    ) -> None:
        self.view = View()
        self._url = url
        self._session = session_id
        self._headers = {"Authorization": f"Bearer {token}"}
        self._on_change = on_change
        self._changed = asyncio.Condition()
        self._lost: str | None = None
        self._hello = False
        self._exits = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Client:
        async with contextlib.AsyncExitStack() as exits:
            self._http = await exits.enter_async_context(httpcore2.AsyncConnectionPool())
            reading = asyncio.create_task(self._read(), name="demo client")
            exits.push_async_callback(_stop, reading)
            await self.until(lambda view: self._hello or None, "the hub to say hello", 15)
            self._exits = exits.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._exits.aclose()

    async def say(self, text: str) -> str:
        """Says something; returns the message's id."""
        answer = await post(
            self._http,
            f"{self._url}/sessions/{self._session}/messages",
            {"text": text},
            self._headers,
        )
        return str(answer["message_id"])

    async def until(self, found: Callable[[View], T | None], what: str, timeout: float) -> T:
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
        url = self._url.replace("http", "ws", 1) + f"/ws/{self._session}"
        try:
            async with connect(url, additional_headers=self._headers, proxy=None) as socket:
                async for data in socket:
                    await self._take(msgspec.json.decode(data))
                await self._end("the hub closed it")
        except (OSError, WebSocketException) as error:
            await self._end(str(error))

    async def _take(self, frame: dict[str, Any]) -> None:
        async with self._changed:
            changed = self.view.take(frame)
            self._hello = self._hello or frame.get("type") == "hello"
            self._changed.notify_all()
        if changed is not None:
            self._on_change(self.view, changed)

    async def _end(self, why: str) -> None:
        async with self._changed:
            self._lost = why
            self._changed.notify_all()


async def post(
    http: httpcore2.AsyncConnectionPool, url: str, body: dict[str, Any], headers: dict[str, str]
) -> dict[str, Any]:
    """The JSON that a POST answers. Raises Broken for any other answer than a success."""
    try:
        response = await http.request(
            "POST",
            url,
            headers=list((headers | {"Content-Type": "application/json"}).items()),
            content=msgspec.json.encode(body),
        )
    except (OSError, httpcore2.NetworkError, httpcore2.TimeoutException) as error:
        raise Broken(f"POST {url}: {error}") from error
    if response.status >= 300:
        raise Broken(f"POST {url}: {response.status} {response.content.decode()[:300]}")
    answer: dict[str, Any] = msgspec.json.decode(response.content)
    return answer


async def _stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
