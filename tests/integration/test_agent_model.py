"""A chat model as the agent: real turns on a real Valkey, against a server that speaks the real
protocol, and badly too."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import openai
import pytest

from hub import keys
from hub.agent import model_turn
from hub.agent.model import MAX_ARGUMENTS, MAX_CALLS, ModelAway
from hub.agent.openai_model import OpenAiModel
from hub.agent.turn import take_turn
from hub.enqueue import Enqueuer
from hub.errors import SettingsError
from hub.invariant import check
from hub.pages import Message
from hub.settings import Settings
from hub.store import Store
from hub.transitions import Transitions
from tests.announced import TASKS
from tests.model_server import (
    ModelServer,
    answers,
    breaks_off,
    calls,
    hangs,
    model_server,
    raw,
    says,
)

ALL = ("read", "cancel", "enqueue", "input", "approve")


class Talk:
    """A person, and an agent that asks a model."""

    def __init__(
        self, store: Store, transitions: Transitions, settings: Settings, server: ModelServer
    ) -> None:
        self.store = store
        self.do = transitions
        self.enqueuer = Enqueuer(store, settings)
        self.server = server
        self.model = OpenAiModel("scripted", base_url=server.url, api_key="key", silence=20)
        self.spoken = 0

    async def say(self, text: str, may: tuple[str, ...] = ALL) -> dict[str, Any]:
        """Speaks; returns the params of the turn that is to answer."""
        self.spoken += 1
        await self.store.say("s1", "user", f"m{self.spoken}", text, turn=True, may=may)
        [claim] = await self.do.claim(
            "w", f"r{self.spoken}", queues=["agent"], tasks=["agent.turn"], lease=60, limit=1
        )
        await self.do.finish(claim.job_id, claim.token, "completed", b"null")
        params: dict[str, Any] = msgspec.json.decode(claim.params)
        return params

    async def turn(self, params: dict[str, Any]) -> None:
        await take_turn(self.store, self.do, self.enqueuer, "s1", params, self.model)

    async def ask(self, text: str, may: tuple[str, ...] = ALL) -> Message:
        """Speaks, and returns the answer."""
        await self.turn(await self.say(text, may))
        return await self.answer()

    async def answer(self) -> Message:
        found = [m for m in await self.store.messages("s1") if m.message_id == f"re.m{self.spoken}"]
        assert len(found) == 1
        return found[0]

    async def tasks(self) -> list[str]:
        return [job.task for job in (await self.store.jobs(session_id="s1")).jobs]

    def results(self) -> list[str]:
        """What the model was told by its tools, in its last request."""
        return [m["content"] for m in self.server.asked[-1]["messages"] if m["role"] == "tool"]


@pytest.fixture
async def talk(
    store: Store, transitions: Transitions, settings: Settings, redis: Any
) -> AsyncIterator[Talk]:
    await transitions.announce(TASKS)
    async with model_server() as server:
        talk = Talk(store, transitions, settings, server)
        yield talk
        await talk.model.aclose()
    assert await check(redis) == []


async def test_the_model_starts_a_job_and_says_so(talk: Talk) -> None:
    echo = ("run_echo_background", '{"text": "hi"}')
    talk.server.script.extend([calls(echo, words="Let me."), says("Started ", "it.")])
    answer = await talk.ask("say hi")
    [job] = (await talk.store.jobs(session_id="s1")).jobs
    assert (answer.text, answer.job_id) == ("Let me.\n\nStarted it.", job.id)
    assert await talk.store.job_fields(job.id, "origin", "credential") == ["agent", "sub:agent"]
    first, second = talk.server.asked
    assert (first["model"], first["stream"], talk.server.keys[0]) == (
        "scripted",
        True,
        "Bearer key",
    )
    assert first["messages"][-1] == {"role": "user", "content": "say hi"}
    assert "run_echo_background" in [tool["function"]["name"] for tool in first["tools"]]
    called, result = second["messages"][-2:]
    assert called["tool_calls"][0]["function"] == {"name": echo[0], "arguments": echo[1]}
    assert result["tool_call_id"] == called["tool_calls"][0]["id"]
    assert f"Started job {job.id}" in result["content"]
    talk.server.script.clear()
    talk.server.script.append(says("It waits."))
    await talk.ask("and now?")
    system, *said = talk.server.asked[-1]["messages"]
    assert f"{job.id} echo: pending" in system["content"]
    assert [m["role"] for m in said] == ["user", "assistant", "user"]


async def test_words_are_told_as_they_come(
    talk: Talk, redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_turn, "TELL_EVERY", 0)
    heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    pubsub = redis.pubsub()
    await pubsub.ssubscribe(keys.live("s1"))

    async def listen() -> None:
        async for said in pubsub.listen():
            if said["type"] == "smessage" and b"message." in said["data"]:
                await heard.put(json.loads(said["data"].split(b"\n", 1)[1]))

    # Each word is written only once the one before was heard.
    talk.server.script.append(says("One ", "two ", "three.", between=lambda: until("partial")))
    told: list[tuple[str, str]] = []

    async def until(kind: str) -> None:
        while True:
            event = await heard.get()
            told.append((event["type"], event["data"]["text"]))
            if event["type"].endswith(kind):
                return

    listening = asyncio.ensure_future(listen())
    try:
        await talk.ask("count")
        await until("agent")
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        await pubsub.aclose()
    assert [each for each in told if each[0] != "message.user"] == [
        ("message.partial", "One"),
        ("message.partial", "One two"),
        ("message.partial", "One two three."),
        ("message.agent", "One two three."),
    ]


async def test_a_turn_that_is_taken_again_starts_nothing_twice(talk: Talk) -> None:
    talk.server.script.extend(
        [calls(("run_echo_background", '{"text": "a"}'), ("start_job", "{")), hangs()]
    )
    params = await talk.say("start it")
    turn = asyncio.ensure_future(talk.turn(params))
    await talk.server.was_asked(2)
    turn.cancel()
    await asyncio.gather(turn, return_exceptions=True)
    assert await talk.tasks() == ["echo"]
    # The model would do something else now; what it said before counts.
    talk.server.script.clear()
    talk.server.script.append(says("Done."))
    await asyncio.gather(*(talk.turn(params) for _ in range(3)))
    assert await talk.tasks() == ["echo"]
    assert (await talk.answer()).text == "Done."
    assert len(talk.results()) == 2


async def test_it_does_what_the_speaker_may_and_never_approves(talk: Talk) -> None:
    talk.server.script.extend([calls(("run_echo_background", '{"text": "a"}')), says("No.")])
    await talk.ask("start it", may=("read", "input"))
    assert "scope enqueue" in talk.results()[0]
    assert await talk.tasks() == []
    talk.server.script.extend([calls(("run_deploy_background", "{}")), says("Say yes or no.")])
    talk.server.script.popleft()
    await talk.ask("deploy")
    [job] = (await talk.store.jobs(session_id="s1")).jobs
    assert job.input is not None
    approve = {"job_id": job.id, "input_id": job.input.id, "value": "yes"}
    talk.server.script.extend([calls(("answer_job", json.dumps(approve))), says("I cannot.")])
    talk.server.script.popleft()
    await talk.ask("please see to the deployment")
    assert "only a person can give" in talk.results()[0]
    job_now = await talk.store.job(job.id)
    assert job_now is not None
    assert job_now.status == "input_required"
    # The person's own word reaches the job without the model.
    asked = len(talk.server.asked)
    answer = await talk.ask("yes")
    assert "goes ahead" in answer.text
    assert len(talk.server.asked) == asked
    job_now = await talk.store.job(job.id)
    assert job_now is not None
    assert job_now.status == "pending"


async def test_what_it_calls_badly_it_is_told(talk: Talk) -> None:
    unknown = json.dumps({"job_id": "01991f00-0000-7000-8000-000000000000"})
    talk.server.script.extend(
        [
            calls(
                ("run_echo_background", '{"text": '),
                ("run_echo_background", '{"text": 7}'),
                ("fly", "{}"),
                ("cancel_job", unknown),
                ("list_jobs", ""),
                ("list_jobs", "[]"),
                ("start_job", json.dumps("x" * (MAX_ARGUMENTS + 10))),
            ),
            says("Sorry."),
        ]
    )
    assert (await talk.ask("do things")).text == "Sorry."
    told = talk.results()
    for text, words in zip(
        told,
        [
            "are not JSON",
            "params/text",
            "there is no tool 'fly'",
            "There is no job",
            "There are no such jobs",
            "must be a JSON object",
            "are not JSON",
        ],
        strict=True,
    ):
        assert words in text
    assert await talk.tasks() == []


async def test_an_endless_loop_of_calls_ends(talk: Talk) -> None:
    talk.server.script.append(calls(("list_jobs", "{}")))
    answer = await talk.ask("loop")
    assert answer.text == model_turn.SPENT
    assert len(talk.server.asked) == model_turn.ROUNDS
    assert "tools" not in talk.server.asked[-1]
    many = [("list_jobs", "{}")] * (MAX_CALLS + 4)
    talk.server.asked.clear()
    talk.server.script.clear()
    talk.server.script.extend([calls(*many), says("Enough.")])
    assert (await talk.ask("loop at once")).text == "Enough."
    assert len(talk.results()) == MAX_CALLS == model_turn.CALLS
    assert "tools" not in talk.server.asked[-1]


@pytest.mark.parametrize(
    ("step", "why"),
    [
        (answers(429, retry_after_ms="1"), "it answered 429"),
        (answers(401), "it answered 401"),
        (answers(500, retry_after_ms="1"), "it answered 500"),
        (breaks_off(), "it broke off"),
        (raw(b"data: {not json\n\n"), "cannot be read"),
        (raw(b'data: {"choices": 7}\n\n'), "cannot be read"),
        (raw(b'data: {"error": {"message": "overloaded"}}\n\n'), "cannot be read"),
        (raw(b"data: [DONE]\n\n"), "it broke off"),
        (says(), "it broke off"),
    ],
    ids=["429", "401", "500", "cut", "not JSON", "no choices", "error", "empty", "no words"],
)
async def test_without_the_model_the_built_in_agent_answers(
    talk: Talk, step: Any, why: str
) -> None:
    talk.server.script.append(step)
    answer = await talk.ask("/echo text=hi")
    assert "I started **echo**" in answer.text
    assert why in answer.text
    assert await talk.tasks() == ["echo"]


async def test_a_busy_model_is_asked_again(talk: Talk) -> None:
    talk.server.script.extend([answers(429, retry_after_ms="1"), says("Here I am.")])
    assert (await talk.ask("hello?")).text == "Here I am."
    assert len(talk.server.asked) == 2


async def test_a_silent_model_is_given_up(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hub.agent.openai_model.RETRIES", 0)
    await talk.model.aclose()
    talk.model = OpenAiModel("scripted", base_url=talk.server.url, api_key="key", silence=0.1)
    talk.server.script.append(hangs())
    answer = await talk.ask("/echo text=hi")
    assert "it was too slow" in answer.text
    await talk.model.aclose()
    talk.model = OpenAiModel("m", base_url="http://127.0.0.1:9/v1", api_key="key", silence=1)
    assert "cannot be reached" in (await talk.ask("/echo text=hi")).text


async def test_one_client_serves_all_replies_of_a_loop(
    talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    class Counted(openai.AsyncOpenAI):
        def __init__(self, **options: Any) -> None:
            made.append(self)
            super().__init__(**options)

    monkeypatch.setattr(openai, "AsyncOpenAI", Counted)
    talk.server.script.extend([says("One."), says("Two."), says("Three.")])
    assert [(await talk.ask("?")).text for _ in range(2)] == ["One.", "Two."]
    assert len(made) == 1

    async def elsewhere() -> str:
        reply = await talk.model.reply([], [], heard)
        await talk.model.aclose()
        return reply.words

    async def heard(words: str) -> None:
        pass

    assert await asyncio.to_thread(lambda: asyncio.run(elsewhere())) == "Three."
    assert len(made) == 2
    await made[0].close()


async def test_what_was_done_is_told_when_the_model_breaks_off(talk: Talk) -> None:
    talk.server.script.extend([calls(("run_echo_background", '{"text": "a"}')), answers(400)])
    answer = await talk.ask("start it")
    [job] = (await talk.store.jobs(session_id="s1")).jobs
    assert "The model did not finish its answer (it answered 400)" in answer.text
    assert f"Started job {job.id}" in answer.text
    assert answer.job_id == job.id


async def test_words_are_bounded(talk: Talk) -> None:
    talk.server.script.append(says(*["word " * 1_000] * 5))
    assert len((await talk.ask("tell me all")).text) <= 8_000


async def test_settings_say_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(SettingsError, match="OPENAI_API_KEY is missing"):
        OpenAiModel("m")
    monkeypatch.setattr("hub.agent.openai_model.find_spec", lambda _: None)
    with pytest.raises(SettingsError, match=r"pip install 'jobcast\[openai\]'"):
        OpenAiModel("m", api_key="k")
    assert issubclass(ModelAway, Exception)
