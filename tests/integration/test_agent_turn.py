"""The agent's turns on a real Valkey: the conversation, and what a crash in the middle leaves."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hub import keys
from hub.agent.turn import TASK, take_turn
from hub.agent.words import OFFER
from hub.claims import Claim
from hub.enqueue import Enqueuer
from hub.invariant import check
from hub.jobs import Job
from hub.settings import Settings
from hub.store import Store
from hub.transitions import Transitions
from worker.toml_tasks import load_toml

ALL = ("read", "cancel", "enqueue", "input", "approve")
RESULT = {
    "passed": 47,
    "failed": 2,
    "errors": 0,
    "skipped": 0,
    "duration": 20.1,
    "failures": [
        {"test": "tests/test_auth.py::test_login_timeout", "message": "assert 31 <= 30"},
        {"test": "tests/test_api.py::test_rate_limit", "message": "assert 200 == 429"},
    ],
}


class Conversation:
    """A person who speaks, the agent, and a worker; every step through the real scripts."""

    def __init__(self, store: Store, transitions: Transitions, settings: Settings) -> None:
        self.store = store
        self.do = transitions
        self.enqueuer = Enqueuer(store, settings)
        self._numbers = itertools.count(1)

    async def announce(self) -> None:
        tasks = load_toml(Path(__file__).parents[2] / "jobcast.toml").announce()
        await self.do.announce(tasks)

    async def say(self, text: str, may: tuple[str, ...] = ALL) -> str:
        """Speaks; nobody answers yet. Returns the message's id."""
        message_id = f"m{next(self._numbers)}"
        assert await self.store.say("s1", "user", message_id, text, turn=True, may=may)
        return message_id

    async def claim(self, queue: str, limit: int = 10) -> list[Claim]:
        return await self.do.claim(
            "w1",
            f"r{next(self._numbers)}",
            queues=[queue],
            tasks=[TASK, "run_tests", "deploy", "build", "report", "refactor"],
            lease=15,
            limit=limit,
        )

    async def turn(self, claim: Claim) -> None:
        params = msgspec.json.decode(claim.params)
        await take_turn(self.store, self.do, self.enqueuer, claim.session_id, params)

    async def turns(self) -> None:
        """Takes and finishes every turn that waits."""
        for claim in await self.claim("agent"):
            await self.turn(claim)
            await self.do.finish(claim.job_id, claim.token, "completed", b"null")

    async def ask(self, text: str, may: tuple[str, ...] = ALL) -> str:
        """Speaks, and returns the answer."""
        message_id = await self.say(text, may)
        await self.turns()
        return await self.said(f"re.{message_id}")

    async def said(self, message_id: str) -> str:
        found = [m for m in await self.store.messages("s1") if m.message_id == message_id]
        assert len(found) == 1, f"{len(found)} messages {message_id}"
        assert found[0].role == "agent"
        return found[0].text

    async def jobs(self) -> list[Job]:
        """Newest first."""
        return (await self.store.jobs(session_id="s1")).jobs

    async def run(self) -> Claim:
        (claim,) = await self.claim("default", 1)
        return claim


@pytest.fixture
async def talk(store: Store, transitions: Transitions, settings: Settings, redis: Any) -> Any:
    conversation = Conversation(store, transitions, settings)
    await conversation.announce()
    yield conversation
    assert await check(redis) == []


async def test_the_whole_conversation(talk: Conversation) -> None:
    answer = await talk.ask("Run the full test suite")
    (job,) = await talk.jobs()
    assert job.task == "run_tests"
    assert job.id in answer

    claim = await talk.run()
    progress = {"percent": 48.9, "current": 23, "total": 47, "message": "Running tests, 1 failed"}
    await talk.do.progress(claim.job_id, claim.token, msgspec.json.encode(progress))
    answer = await talk.ask("Are the tests done?")
    assert "23 of 47, 49 %: Running tests, 1 failed" in answer

    await talk.do.log(
        claim.job_id,
        claim.token,
        1,
        [
            msgspec.json.encode({"stream": "stdout", "text": line})
            for line in (
                "____ test_login_timeout ____",
                "    def test_login_timeout():",
                ">       assert waited <= 30",
                "E       assert 31 <= 30",
                "____ test_rate_limit ____",
                "E       assert 200 == 429",
            )
        ],
    )
    await talk.do.finish(claim.job_id, claim.token, "completed", msgspec.json.encode(RESULT))
    await talk.turns()
    word = await talk.said(f"word.{job.id}")
    assert "47 passed, 2 failed" in word
    assert "`test_auth.py::test_login_timeout` and `test_api.py::test_rate_limit`" in word
    assert word.endswith(OFFER)

    answer = await talk.ask("yes")
    assert "assert 31 <= 30" in answer
    assert ">       assert waited <= 30" in answer
    assert "`tests/test_api.py::test_rate_limit`" in answer


async def test_a_deployment_waits_for_a_yes(talk: Conversation) -> None:
    answer = await talk.ask("Deploy to staging")
    (job,) = await talk.jobs()
    assert job.status == "input_required"
    assert "approval" in answer
    assert "Deploy to staging?" in answer
    assert await talk.claim("default") == []
    assert "goes ahead" in await talk.ask("yes")
    (job,) = await talk.jobs()
    assert job.status == "pending"


async def test_no_cancels_it(talk: Conversation) -> None:
    await talk.ask("Deploy to staging")
    assert "will not run" in await talk.ask("no")
    (job,) = await talk.jobs()
    assert job.status == "cancelled"
    await talk.turns()
    assert "cancelled before it ran" in await talk.said(f"word.{job.id}")


@pytest.mark.parametrize(
    ("may", "words", "status"),
    [
        (("input", "cancel", "enqueue"), "yes", "input_required"),
        (("input", "cancel", "enqueue"), "no", "input_required"),
        (("input", "approve", "enqueue"), "stop it", "input_required"),
    ],
)
async def test_a_speaker_without_the_scope(
    talk: Conversation, may: tuple[str, ...], words: str, status: str
) -> None:
    await talk.ask("Deploy to staging")
    assert "lacks the scope" in await talk.ask(words, may)
    (job,) = await talk.jobs()
    assert job.status == status


async def test_nothing_is_started_without_the_scope(talk: Conversation) -> None:
    answer = await talk.ask("Run the tests", ("read", "input"))
    assert "`enqueue`" in answer
    assert await talk.jobs() == []


async def test_stop_it(talk: Conversation) -> None:
    assert await talk.ask("Stop it") == "Nothing is running."
    await talk.ask("Run the tests")
    claim = await talk.run()
    assert "stopping" in await talk.ask("Stop it")
    (job,) = await talk.jobs()
    assert job.status == "cancelling"
    await talk.do.finish(claim.job_id, claim.token, "cancelled")
    await talk.turns()
    assert "was cancelled after" in await talk.said(f"word.{job.id}")


async def test_a_failure_is_told_with_its_last_lines(talk: Conversation) -> None:
    await talk.ask("build it")
    claim = await talk.run()
    await talk.do.log(claim.job_id, claim.token, 1, [b'{"stream":"stderr","text":"no space left"}'])
    await talk.do.finish(
        claim.job_id, claim.token, "failed", b'{"code":"error","message":"build failed (exit 1)"}'
    )
    await talk.turns()
    word = await talk.said(f"word.{claim.job_id}")
    assert "build failed (exit 1)" in word
    assert "no space left" in word


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("/run_tests selector=-x", "`selector`"),
        ("/refactor old=a-b new=c", "`old`"),
        ("/deploy environment=mars", "`production` or `staging`"),
        ("deploy", "`production` or `staging`"),
        ("/frobnicate", "There is no task `frobnicate`"),
        ("what can you do?", "/deploy environment=production"),
        ("hello", "Hello"),
        ("order a pizza", "did not understand"),
    ],
)
async def test_what_does_not_fit_is_said(talk: Conversation, text: str, told: str) -> None:
    assert told in await talk.ask(text)
    assert await talk.jobs() == []


async def test_a_question_of_the_agents_own_is_answered_over_two_messages(
    talk: Conversation,
) -> None:
    await talk.ask("deploy")
    await talk.ask("mars")
    await talk.ask("staging")
    (job,) = await talk.jobs()
    assert job.params is not None
    assert msgspec.json.decode(job.params) == {"environment": "staging"}


# ---------------------------------------------------------------- crashes and haste


async def test_a_rerun_starts_and_says_nothing_twice(talk: Conversation) -> None:
    message_id = await talk.say("Run the tests")
    (claim,) = await talk.claim("agent")
    await talk.turn(claim)
    # It crashed before it could finish; and once more it crashes before it could say anything.
    await talk.turn(claim)
    await forget_answer(talk, message_id)
    await talk.turn(claim)
    assert len(await talk.jobs()) == 1
    await talk.said(f"re.{message_id}")


async def test_a_rerun_stops_no_second_job(talk: Conversation) -> None:
    await talk.ask("Run the tests")
    await talk.ask("Build it")
    message_id = await talk.say("Stop the last one")
    (claim,) = await talk.claim("agent")
    await talk.turn(claim)
    await forget_answer(talk, message_id)
    await talk.turn(claim)
    assert [job.status for job in await talk.jobs()] == ["cancelled", "pending"]


async def forget_answer(talk: Conversation, message_id: str) -> None:
    """Takes the answer back, as if the turn had crashed just before it was said."""
    redis = talk.store.redis
    newest = await redis.xrevrange(keys.messages("s1"), count=1)
    await redis.xdel(keys.messages("s1"), newest[0][0])
    assert await redis.zrem(keys.message_ids("s1"), f"re.{message_id}") == 1


async def test_hasty_messages_are_answered_in_their_order(talk: Conversation) -> None:
    await talk.say("Run the tests")
    await talk.say("Are the tests done?")
    await talk.say("Stop it")
    claims = await talk.claim("agent")
    assert len(claims) == 3
    # The last one comes first, as it may where several workers take turns.
    for claim in reversed(claims):
        await talk.turn(claim)
    said = [m.message_id for m in await talk.store.messages("s1")]
    assert said == ["m1", "m2", "m3", "re.m1", "re.m2", "re.m3"]
    (job,) = await talk.jobs()
    assert job.status == "cancelled"


async def test_a_yes_approves_nothing_that_was_asked_after_it(talk: Conversation) -> None:
    message_id = await talk.say("yes")
    await wait_a_millisecond(talk)
    await talk.say("Deploy to staging")
    *_, later = await talk.claim("agent", 10)
    await talk.turn(later)
    (job,) = await talk.jobs()
    assert job.status == "input_required"
    await forget_answer_of(talk, message_id)
    await talk.turn(later)
    (job,) = await talk.jobs()
    assert job.status == "input_required"


async def forget_answer_of(talk: Conversation, message_id: str) -> None:
    """Takes an answer and the decision behind it back, as if its turn had never begun."""
    redis = talk.store.redis
    assert await redis.zrem(keys.message_ids("s1"), f"re.{message_id}") == 1
    for entry_id, fields in await redis.xrange(keys.messages("s1")):
        if fields[b"t"] and f'"{message_id}"'.encode() in fields[b"m"]:
            assert await redis.delete(keys.memo(fields[b"t"].decode())) == 1
        if f'"re.{message_id}"'.encode() in fields[b"m"]:
            await redis.xdel(keys.messages("s1"), entry_id)


async def wait_a_millisecond(talk: Conversation) -> None:
    """Returns once the server's clock shows another millisecond."""
    start = await talk.store.redis.time()
    while (now := await talk.store.redis.time())[0] == start[0] and now[1] - start[1] < 2_000:
        pass


async def test_a_word_on_a_job_is_said_once(talk: Conversation) -> None:
    await talk.ask("Build it")
    claim = await talk.run()
    await talk.do.finish(claim.job_id, claim.token, "completed", b'{"archive":"a.tar.gz"}')
    (turn,) = await talk.claim("agent")
    await talk.turn(turn)
    await talk.turn(turn)
    assert "archive `a.tar.gz`" in await talk.said(f"word.{claim.job_id}")


async def test_a_forgotten_session_is_left_alone(talk: Conversation, store: Store) -> None:
    await talk.say("Run the tests")
    await store.forget("s1")
    await talk.turns()
    assert await store.messages("s1") == []
    assert await talk.jobs() == []
