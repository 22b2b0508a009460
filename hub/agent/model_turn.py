"""One turn of a chat model: it is asked, its tools are called, it is asked again, until it speaks.

A turn may run twice, or twice at once. So each reply is kept before anything is done about it, and
what a call did is kept too: a turn that is taken again goes on where the other one was, and a start
of a job has a key made of its place, so that it is one job."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final, NamedTuple, Protocol

import msgspec
from msgspec import Struct

from hub.agent.memory import Spoken, answer_id
from hub.agent.model import MAX_WORDS, Model, ModelAway, Reply
from hub.agent.prompt import conversation
from hub.agent.toolbox import Toolbox

log = logging.getLogger("jobcast.agent")

#: How often a model is asked in one turn, how many tools it may call in it, and for how long.
ROUNDS: Final = 8
CALLS: Final = 16
SECONDS: Final = 90.0
#: Between two tellings of words that are still being written, in seconds.
TELL_EVERY: Final = 0.1

NO_MORE: Final = "That was not done: this answer has used all of its tool calls. Speak now."
SPENT: Final = "I have called my tools as often as I may for one answer, and stopped there."


class Kept(Struct):
    """What a call did."""

    text: str
    job_id: str | None = None


class Notebook(Protocol):
    """Keeps a turn's steps (`hub.agent.memory`)."""

    async def step(self, turn: str, name: str) -> bytes | None:
        """What is kept under a name."""

    async def keep(self, turn: str, name: str, value: bytes) -> bytes:
        """Keeps a value, unless there is one; returns the one that counts."""


class Speaker(Protocol):
    """Tells of words that are still being written (`hub.store`)."""

    async def partial(self, session_id: str, message_id: str, words: str) -> None:
        """Tells them all, so far."""


class Answered(NamedTuple):
    """What the model said, and the job that it started last."""

    words: str
    job_id: str | None


class ModelTurn:
    """A model's turns in a session."""

    def __init__(
        self,
        model: Model,
        tools: Toolbox,
        notebook: Notebook,
        speaker: Speaker,
        session_id: str,
    ) -> None:
        self._model = model
        self._tools = tools
        self._notebook = notebook
        self._speaker = speaker
        self._session = session_id

    async def answer(self, one: Spoken, earlier: list[Spoken]) -> Answered:
        """The answer to a message. Raises ModelAway where the model gives none at all: nothing
        was done then. Once something was done, it is told, whatever happens to the model."""
        jobs = await self._tools.execute_tool("list_jobs", {}, session_id=self._session)
        messages = conversation([*earlier, one], jobs)
        said: list[str] = []
        done: list[Kept] = []
        try:
            async with asyncio.timeout(SECONDS):
                await self._rounds(one, messages, said, done)
        except (ModelAway, TimeoutError) as error:
            why = str(error) or "it was too slow"
            log.warning("the agent's model gave no answer: %s", why)
            if not done:
                raise ModelAway(why) from error
            said.append(f"The model did not finish its answer ({why}). What was done:")
            said += [f"- {kept.text.splitlines()[0]}" for kept in done]
        started = [kept.job_id for kept in done if kept.job_id]
        return Answered(_joined(said) or SPENT, started[-1] if started else None)

    async def _rounds(
        self, one: Spoken, messages: list[dict[str, Any]], said: list[str], done: list[Kept]
    ) -> None:
        for number in range(ROUNDS):
            # The last time it has no tools, and can only speak.
            last = number == ROUNDS - 1 or len(done) >= CALLS
            reply = await self._reply(one, number, messages, said, last)
            if reply.words:
                said.append(reply.words)
            if not reply.calls or last:
                return
            messages.append(reply.message())
            for call in reply.calls:
                kept = Kept(NO_MORE)
                if len(done) < CALLS:
                    kept = await self._call(one.turn, len(done), call.name, call.arguments)
                    done.append(kept)
                messages.append({"role": "tool", "tool_call_id": call.id, "content": kept.text})

    async def _reply(
        self,
        one: Spoken,
        number: int,
        messages: list[dict[str, Any]],
        said: list[str],
        last: bool,
    ) -> Reply:
        name = f"reply.{number}"
        found = await self._notebook.step(one.turn, name)
        if found is None:
            definitions = [] if last else await self._tools.tools(format="openai")
            telling = _Telling(self._speaker, self._session, answer_id(one.message), said)
            reply = await self._model.reply(messages, definitions, telling)
            found = await self._notebook.keep(one.turn, name, msgspec.json.encode(reply))
        return msgspec.json.decode(found, type=Reply)

    async def _call(self, turn: str, number: int, name: str, arguments: str) -> Kept:
        step = f"call.{number}"
        found = await self._notebook.step(turn, step)
        if found is None:
            told = await self._tools.call(
                name,
                arguments,
                session_id=self._session,
                idempotency_key=f"{turn}.{number}",
            )
            starts = told.job is not None and (name == "start_job" or name.startswith("run_"))
            kept = Kept(told.text, told.job.id if told.job is not None and starts else None)
            found = await self._notebook.keep(turn, step, msgspec.json.encode(kept))
        return msgspec.json.decode(found, type=Kept)


class _Telling:
    """Tells words as they come, ten times a second at most; the whole message follows anyway."""

    def __init__(
        self, speaker: Speaker, session_id: str, message_id: str, before: list[str]
    ) -> None:
        self._speaker = speaker
        self._session = session_id
        self._message = message_id
        self._before = before
        self._at = -1e9

    async def __call__(self, words: str) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._at >= TELL_EVERY:
            self._at = now
            text = _joined([*self._before, words])
            await self._speaker.partial(self._session, self._message, text)


def _joined(parts: list[str]) -> str:
    return "\n\n".join(filter(None, (part.strip() for part in parts)))[:MAX_WORDS]
