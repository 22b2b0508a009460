"""A chat model that is asked for words and tool calls. Only what `hub.agent.openai_model` makes
is one; the rest of the agent knows no more of it than this."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from msgspec import Struct

from hub.errors import JobcastError

#: Characters of the words, and of one call's arguments, that are read.
MAX_WORDS: Final = 8_000
MAX_ARGUMENTS: Final = 65_536
#: Calls in one reply that are read.
MAX_CALLS: Final = 16

#: Hears the words of a reply so far.
Heard = Callable[[str], Awaitable[None]]


class ModelAway(JobcastError):
    """The model did not answer: no connection, too slow, too busy, refused, or nonsense."""


class Call(Struct):
    """A tool that the model calls; `arguments` is what it wrote, JSON or not."""

    id: str
    name: str
    arguments: str


class Reply(Struct):
    """Words, calls, or both."""

    words: str = ""
    calls: list[Call] = []

    def message(self) -> dict[str, Any]:
        """The reply as a message of the chat-completions API."""
        said: dict[str, Any] = {"role": "assistant", "content": self.words or None}
        if self.calls:
            said["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments},
                }
                for call in self.calls
            ]
        return said


class Model(Protocol):
    """A chat model."""

    async def reply(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]],
        heard: Heard,
    ) -> Reply:
        """What the model says to this conversation; `heard` is told as it comes. Without tools it
        can only speak. Raises ModelAway."""
