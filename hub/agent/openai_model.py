"""An OpenAI-compatible chat-completions model, through the official package `openai`."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from hub.agent.model import MAX_ARGUMENTS, MAX_CALLS, MAX_WORDS, Call, Heard, ModelAway, Reply
from hub.errors import SettingsError

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from openai.types.chat import ChatCompletionChunk
    from openai.types.chat.chat_completion_chunk import ChoiceDeltaToolCall

log = logging.getLogger("jobcast.agent")

#: Seconds of silence after which a model is away; and how often it is asked again when it is busy
#: or cannot be reached (its `Retry-After` is kept to).
SILENCE: Final = 30.0
RETRIES: Final = 2


class OpenAiModel:
    """A model by its name. `base_url` and `api_key` default to `OPENAI_BASE_URL` and
    `OPENAI_API_KEY`; `silence` is in seconds. Its connections are kept from one reply to the next,
    until `aclose`.

    Raises SettingsError where the extra or the key is missing."""

    def __init__(
        self,
        name: str,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        silence: float = SILENCE,
    ) -> None:
        if find_spec("openai") is None:
            raise SettingsError(
                "JOBCAST_AGENT_MODEL needs a package that is not installed. Install it with:"
                " pip install 'jobcast[openai]'"
            )
        key = api_key or os.environ.get("OPENAI_API_KEY")
        if not key:
            raise SettingsError("JOBCAST_AGENT_MODEL is set, and OPENAI_API_KEY is missing.")
        self._name = name
        self._base_url = base_url or os.environ.get("OPENAI_BASE_URL") or None
        self._key = key
        self._silence = silence
        self._client: AsyncOpenAI | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def reply(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]],
        heard: Heard,
    ) -> Reply:
        """As `Model.reply`. The key is in no error and no log."""
        # In a thread: it takes seconds, in which nothing else in this process would move.
        await asyncio.to_thread(import_module, "openai")
        import httpx2
        import openai

        asked: dict[str, Any] = {"model": self._name, "messages": list(messages), "stream": True}
        if tools:
            asked["tools"] = list(tools)
        try:
            stream: Any = await self._here().chat.completions.create(**asked)
            reading = _Reading()
            async with stream:
                async for chunk in stream:
                    if reading.read(chunk):
                        await heard(reading.words)
        except openai.APIStatusError as error:
            raise ModelAway(f"it answered {error.status_code}") from error
        except openai.APITimeoutError as error:
            raise ModelAway("it was too slow") from error
        except (openai.OpenAIError, httpx2.HTTPError, ValueError, TypeError) as error:
            raise ModelAway("it cannot be reached, or its answer cannot be read") from error
        return reading.reply()

    async def aclose(self) -> None:
        """Closes its connections; another reply opens new ones."""
        client, self._client = self._client, None
        if client is not None and self._loop is asyncio.get_running_loop():
            await client.close()

    def _here(self) -> AsyncOpenAI:
        """The client of this loop. One takes some 50 ms to make, in which nothing else moves;
        one of another loop, whose end took its connections along, is of no use."""
        import openai

        loop = asyncio.get_running_loop()
        if self._client is None or self._loop is not loop:
            timeout = openai.Timeout(self._silence, connect=min(10.0, self._silence))
            self._loop = loop
            self._client = openai.AsyncOpenAI(
                api_key=self._key, base_url=self._base_url, timeout=timeout, max_retries=RETRIES
            )
        return self._client


class _Reading:
    """A reply that comes in chunks. What exceeds its bounds is left out."""

    def __init__(self) -> None:
        self.words = ""
        self._calls: dict[int, Call] = {}
        self._ended = False

    def read(self, chunk: ChatCompletionChunk) -> bool:
        """Takes in a chunk; whether there are more words now."""
        if not chunk.choices:
            return False
        choice = chunk.choices[0]
        self._ended = self._ended or choice.finish_reason is not None
        for part in choice.delta.tool_calls or []:
            self._call(part)
        more = choice.delta.content or choice.delta.refusal or ""
        more = more[: MAX_WORDS - len(self.words)]
        self.words += more
        return bool(more)

    def _call(self, part: ChoiceDeltaToolCall) -> None:
        if part.index not in self._calls and len(self._calls) >= MAX_CALLS:
            return
        call = self._calls.setdefault(part.index, Call(f"call_{part.index}", "", ""))
        call.id = part.id or call.id
        if part.function is not None:
            call.name += part.function.name or ""
            call.arguments += part.function.arguments or ""
        # Cut JSON is none: the model is told so, as of any arguments that cannot be read.
        call.arguments = call.arguments[:MAX_ARGUMENTS]

    def reply(self) -> Reply:
        """The whole reply. Raises ModelAway where it broke off, or says nothing at all."""
        calls = [self._calls[index] for index in sorted(self._calls)]
        if not self._ended or not (self.words or calls):
            raise ModelAway("it broke off")
        return Reply(self.words, [call for call in calls if call.name])
