"""A server that speaks the chat-completions API as its script says, on a real socket."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

Step = Callable[[asyncio.StreamWriter], Awaitable[None]]


class ModelServer:
    """Answers each request with the next step of `script`, or with the last one again and again.
    `asked` are the bodies that it was sent, `keys` the credentials."""

    def __init__(self) -> None:
        self.script: deque[Step] = deque()
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.url = ""
        self.changed = asyncio.Condition()
        self._serving: set[asyncio.Task[Any]] = set()

    async def was_asked(self, times: int) -> None:
        """Returns once it was asked so often."""
        async with self.changed:
            await self.changed.wait_for(lambda: len(self.asked) >= times)

    async def close(self) -> None:
        """Ends what still hangs."""
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            lines = [line.split(": ", 1) for line in head.split("\r\n")[1:-2]]
            low = {name.lower(): value for name, value in lines}
            assert head.startswith("POST /v1/chat/completions "), head
            self.keys.append(low["authorization"])
            body = await reader.readexactly(int(low["content-length"]))
            async with self.changed:
                self.asked.append(json.loads(body))
                self.changed.notify_all()
            step = self.script.popleft() if len(self.script) > 1 else self.script[0]
            await step(writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            # Clients that went away are part of the tests.
            pass
        finally:
            self._serving.discard(task)
            writer.close()


@asynccontextmanager
async def model_server() -> AsyncIterator[ModelServer]:
    """Serves until the context ends."""
    model = ModelServer()
    async with await asyncio.start_server(model._serve, "127.0.0.1", 0) as server:
        model.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        try:
            yield model
        finally:
            await model.close()


def _chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
    body = {
        "id": "c1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "scripted",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }
    return f"data: {json.dumps(body)}\n\n".encode()


_STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


def says(*words: str, between: Callable[[], Awaitable[Any]] | None = None) -> Step:
    """Speaks, a chunk for each; waits for `between` before each but the first."""

    async def step(writer: asyncio.StreamWriter) -> None:
        writer.write(_STREAM + _chunk({"role": "assistant", "content": ""}))
        for number, word in enumerate(words):
            if number and between is not None:
                await between()
            writer.write(_chunk({"content": word}))
            await writer.drain()
        usage = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "scripted"}
        last = {**usage, "choices": [], "usage": None}
        writer.write(_chunk({}, "stop") + f"data: {json.dumps(last)}\n\ndata: [DONE]\n\n".encode())
        await writer.drain()

    return step


def calls(*tools: tuple[str, str], words: str = "") -> Step:
    """Calls tools, their arguments in pieces."""

    async def step(writer: asyncio.StreamWriter) -> None:
        writer.write(_STREAM + _chunk({"role": "assistant", "content": words or None}))
        for index, (name, arguments) in enumerate(tools):
            begun = {"name": name, "arguments": ""}
            first = {"index": index, "id": f"id{index}", "type": "function", "function": begun}
            writer.write(_chunk({"tool_calls": [first]}))
            for piece in (arguments[:5], arguments[5:]):
                part = {"index": index, "function": {"arguments": piece}}
                writer.write(_chunk({"tool_calls": [part]}))
        writer.write(_chunk({}, "tool_calls") + b"data: [DONE]\n\n")
        await writer.drain()

    return step


def answers(status: int, **headers: str) -> Step:
    """Refuses."""

    async def step(writer: asyncio.StreamWriter) -> None:
        body = json.dumps({"error": {"message": "no", "type": "t", "code": None}}).encode()
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        writer.write(
            f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nConnection: close\r\n"
            f"{lines}Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        await writer.drain()

    return step


def hangs() -> Step:
    """Says nothing at all, for as long as anybody waits."""

    async def step(writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    return step


def raw(body: bytes) -> Step:
    """Sends a stream of these bytes, and ends it there."""

    async def step(writer: asyncio.StreamWriter) -> None:
        writer.write(_STREAM + body)
        await writer.drain()

    return step


def breaks_off() -> Step:
    """Ends in the middle of its words."""
    return raw(_chunk({"role": "assistant", "content": "I sta"}))
