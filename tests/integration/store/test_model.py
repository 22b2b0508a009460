"""The real scripts against a model of the job table, driven in every order that can be thought of.

Each step is one call, made once or, as after a lost reply, twice; with the claim's token or one
that is over. After each step Redis must be what the model says.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Coroutine, Set
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest
import redis as redis_sync
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from hub import keys
from hub.connection import connect
from hub.errors import Conflict, NotFound, StaleToken
from hub.invariant import check
from hub.jobs import NewJob, new_job_id
from hub.queueing import Enqueued
from hub.scripts import Scripts
from hub.settings import Settings
from hub.states import TABLE, TERMINAL
from hub.store import Store
from hub.tick import Ticker
from hub.transitions import Claim, Transitions
from tests.conftest import Server

T = TypeVar("T")

MAX_LOST = 3
ERROR = b'{"code":"error","message":"x"}'
SESSIONS = st.sampled_from(["s1", "s2"])
REPEATS = st.sampled_from([1, 1, 2])
STALE = st.sampled_from([False, False, False, True])
HELD = {"running", "input_required", "cancelling"}


@dataclass
class Model:
    """What is true of one job."""

    id: str
    session: str
    state: str
    place: str = "ready"
    key: str = ""
    attempts_allowed: int = 2
    counts: dict[str, int] = field(default_factory=lambda: {"attempt": 1, "lost": 0, "released": 0})
    token: str = ""
    tokens: list[str] = field(default_factory=lambda: ["1:0"])
    last_end: str = ""
    question: str = ""
    confirm: bool = False
    foreign: bool = False
    later: bool = False
    expiring: bool = False
    silent: bool = False
    answers: dict[str, bytes] = field(default_factory=dict)
    retried_by: str = ""

    def step(self, action: str) -> bool:
        """Takes an action as the table has it; False where it is refused."""
        if self.state == "input_required" and action in ("complete", "fail", "retry"):
            self.state = "running"
        targets: Set[str] = TABLE.get((self.state, action), frozenset())
        if not targets:
            return False
        if len(targets) == 2:
            name, limit = {
                "retry": ("attempt", self.attempts_allowed),
                "reap": ("lost", 0 if self.foreign else MAX_LOST + 1),
            }[action]
            self.counts[name] += action == "reap" and not self.foreign
            over = self.counts[name] >= limit
            self.counts[name] += action == "retry" and not over
            targets = {"failed"} if over else targets - {"failed"}
        self.counts["released"] += action == "release" and targets == {"pending"}
        [self.state] = targets
        if self.token and self.state not in HELD:
            self.tokens.append(self.token)
            self.token, self.last_end = "", ENDS.get(action, action)
        if self.state not in ("input_required", "waiting"):
            self.question = ""
        return True


ENDS = {"complete": "finish", "fail": "finish", "confirm_cancel": "finish"}


class JobTable(RuleBasedStateMachine):
    """`server` is set by the test."""

    server: Server
    jobs = Bundle("jobs")

    def __init__(self) -> None:
        super().__init__()
        with redis_sync.Redis(port=self.server.port) as client:
            client.flushall()
        self.loop = asyncio.Runner()
        self.redis: Any = connect(self.server.url)
        scripts = Scripts(Settings(max_lost=MAX_LOST, agent=False))
        self.store, self.do = Store(self.redis, scripts), Transitions(self.redis, scripts)
        self.ticker = Ticker(self.redis, scripts)
        self.table: dict[str, Model] = {}
        self.forgotten: set[str] = set()
        self.idempotent: dict[str, str] = {}
        self.numbers = itertools.count()
        self.last_claim: tuple[str, int, list[Claim]] = ("", 0, [])

    def teardown(self) -> None:
        self.run(self.redis.aclose())
        self.loop.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run(work)

    def call(self, times: int, make: Callable[[], Awaitable[T]]) -> T:
        """The answer of a call; after a lost reply it is the second one that is seen."""

        async def calls() -> T:
            for _ in range(times - 1):
                await make()
            return await make()

        return self.run(calls())

    def refuses(self, error: type[Exception], times: int, make: Callable[[], Awaitable[T]]) -> None:
        with pytest.raises(error):
            self.call(times, make)

    # ------------------------------------------------------------------ queueing

    def add(self, new: NewJob, times: int, found: Model | None, **facts: Any) -> str:
        job_id = new_job_id(new.session_id)
        made = self.call(times, lambda: self.store.enqueue(new, job_id))
        if found is not None:
            assert (made.created, made.job.id) == (False, found.id)
            return found.id
        assert made.created == (times == 1)
        assert made.job.id == job_id
        self.table[job_id] = Model(job_id, new.session_id, **facts)
        return job_id

    @rule(target=jobs, sid=SESSIONS, times=REPEATS, attempts=st.integers(1, 3), late=st.booleans())
    def enqueue(self, sid: str, times: int, attempts: int, late: bool) -> str:
        new = NewJob(session_id=sid, task="work", max_attempts=attempts, delay=60 if late else None)
        place = "delayed" if late else "ready"
        return self.add(new, times, None, state="pending", place=place, attempts_allowed=attempts)

    @rule(target=jobs, sid=SESSIONS, times=REPEATS)
    def enqueue_expiring(self, sid: str, times: int) -> str:
        new = NewJob(session_id=sid, task="work", expires_in=60, max_attempts=2)
        return self.add(new, times, None, state="pending", expiring=True)

    @rule(target=jobs, sid=SESSIONS, times=REPEATS, late=st.booleans())
    def enqueue_confirm(self, sid: str, times: int, late: bool) -> str:
        new = NewJob(
            session_id=sid,
            task="work",
            confirm="Sure?",
            delay=60 if late else None,
            max_attempts=2,
        )
        facts = {"state": "waiting", "question": "confirm", "confirm": True, "later": late}
        return self.add(new, times, None, **facts)

    @rule(target=jobs, sid=SESSIONS)
    def enqueue_foreign(self, sid: str) -> str:
        new = NewJob(session_id=sid, task="theirs", queue=None)
        made: Enqueued = self.run(self.store.enqueue(new))
        assert made.token is not None
        model = Model(made.job.id, sid, "running", token=made.token, foreign=True)
        self.table[model.id] = model
        return model.id

    @rule(target=jobs, sid=SESSIONS, times=REPEATS, key=st.sampled_from("ab"))
    def enqueue_unique(self, sid: str, times: int, key: str) -> str:
        new = NewJob(session_id=sid, task="work", key=key, max_attempts=2)
        holder = next((m for m in self.table.values() if self.holds(m, sid, key)), None)
        return self.add(new, times, holder, state="pending", key=key)

    @staticmethod
    def holds(model: Model, sid: str, key: str) -> bool:
        live = model.state not in TERMINAL and not model.silent
        return live and (model.session, model.key) == (sid, key)

    @rule(target=jobs, sid=SESSIONS, times=REPEATS, name=st.sampled_from("xy"))
    def enqueue_idempotent(self, sid: str, times: int, name: str) -> str:
        name = f"{sid}{name}"
        new = NewJob(session_id=sid, task="work", idempotency_key=name, max_attempts=2)
        found = self.table.get(self.idempotent.get(name, ""))
        found = None if found is None or found.silent else found
        job_id = self.idempotent[name] = self.add(new, times, found, state="pending")
        return job_id

    @rule(target=jobs, job=jobs, times=REPEATS)
    def retry_by_hand(self, job: str, times: int) -> str:
        new = NewJob(session_id="s1", task="work", retry_of=job, max_attempts=2)
        model = self.table.get(job)
        if model is None:
            self.refuses(NotFound, times, lambda: self.store.enqueue(new))
            return job
        if model.state not in TERMINAL:
            self.refuses(Conflict, times, lambda: self.store.enqueue(new))
            return job
        found = self.table.get(model.retried_by)
        model.retried_by = self.add(new, times, found, state="pending")
        return model.retried_by

    # ------------------------------------------------------------------ claiming

    def ready(self) -> set[str]:
        return {
            m.id
            for m in self.table.values()
            if m.state in ("pending", "retrying") and m.place == "ready"
        }

    async def claims(self, request: str, limit: int, task: str) -> list[Claim]:
        return await self.do.claim(
            "w", request, queues=["default"], tasks=[task], lease=15, limit=limit
        )

    @rule(limit=st.integers(1, 3), times=REPEATS)
    def claim(self, limit: int, times: int) -> None:
        request, ready = f"r{next(self.numbers)}", self.ready()
        claims = self.call(times, lambda: self.claims(request, limit, "work"))
        assert {c.job_id for c in claims} <= ready
        assert len(claims) == min(limit, len(ready))
        self.last_claim = (request, limit, claims)
        for claim in claims:
            model = self.table[claim.job_id]
            assert model.step("claim")
            model.token, model.expiring = claim.token, False

    @rule()
    def repeat_the_last_claim(self) -> None:
        """Long after: only what is still its own comes again."""
        request, limit, claims = self.last_claim
        if request and claims:
            again = self.run(self.claims(request, limit, "work"))
            held = [c.job_id for c in claims if self.holds_claim(c)]
            assert [c.job_id for c in again] == held

    def holds_claim(self, claim: Claim) -> bool:
        model = self.table.get(claim.job_id)
        return model is not None and model.token == claim.token

    @rule(times=REPEATS)
    def claim_by_a_worker_without_the_task(self, times: int) -> None:
        request, ready = f"r{next(self.numbers)}", self.ready()
        assert self.call(times, lambda: self.claims(request, 3, "other")) == []
        for job_id in ready:
            self.table[job_id].place = "parked"

    @rule(times=REPEATS)
    def announce(self, times: int) -> None:
        parked = [m for m in self.table.values() if m.place == "parked" and m.state not in TERMINAL]
        woken = self.call(times, lambda: self.do.announce({"work": {"name": "work"}}))
        assert woken == (len(parked) if times == 1 else 0)
        for model in parked:
            model.place = "ready"

    # ------------------------------------------------------------------ a worker's calls

    def by_worker(
        self, job: str, action: str, times: int, stale: bool, make: Callable[[str], Awaitable[str]]
    ) -> None:
        """A call that ends or moves a claim: with a token that is over it is refused, unless it
        repeats what ended that very claim."""
        model = self.table.get(job)
        if model is None:
            self.refuses(StaleToken, times, lambda: make("1:0"))
            return
        token = model.tokens[-1] if stale or not model.token else model.token
        if token != model.token:
            if model.last_end == ENDS.get(action, action) and action not in ("ask", "withdraw"):
                self.call(times, lambda: make(token))
            else:
                self.refuses(StaleToken, times, lambda: make(token))
        elif action == "confirm_cancel" and model.state != "cancelling":
            self.refuses(Conflict, times, lambda: make(token))
        elif action == "withdraw":
            assert self.call(times, lambda: make(token)) in HELD
            model.step("withdraw")
        else:
            was = model.state
            status = self.call(times, lambda: make(token))
            assert model.step(action), (was, action)
            assert status == model.state.replace("waiting", "input_required")
            model.place = "delayed" if action == "retry" else "ready"

    @rule(
        job=jobs,
        fate=st.sampled_from(["completed", "failed", "cancelled"]),
        times=REPEATS,
        stale=STALE,
    )
    def finish(self, job: str, fate: Any, times: int, stale: bool) -> None:
        action = {"completed": "complete", "failed": "fail"}.get(fate, "confirm_cancel")
        value = ERROR if fate == "failed" else b"1"
        self.by_worker(
            job, action, times, stale, lambda token: self.do.finish(job, token, fate, value)
        )

    @rule(job=jobs, times=REPEATS, stale=STALE)
    def retry(self, job: str, times: int, stale: bool) -> None:
        if not self.is_foreign(job):
            make = lambda token: self.do.retry(job, token, 60, ERROR)  # noqa: E731 (see by_worker)
            self.by_worker(job, "retry", times, stale, make)

    @rule(job=jobs, times=REPEATS, stale=STALE)
    def release(self, job: str, times: int, stale: bool) -> None:
        if not self.is_foreign(job):
            self.by_worker(job, "release", times, stale, lambda token: self.do.release(job, token))

    @rule(job=jobs, times=REPEATS, stale=STALE)
    def withdraw(self, job: str, times: int, stale: bool) -> None:
        if not self.is_foreign(job):
            self.by_worker(job, "withdraw", times, stale, lambda t: self.do.withdraw(job, t))

    def is_foreign(self, job: str) -> bool:
        """Jobs of somebody else's queue are told of by three calls only."""
        return job in self.table and self.table[job].foreign

    @rule(job=jobs, question=st.sampled_from(["q1", "q2"]), stale=STALE)
    def ask(self, job: str, question: str, stale: bool) -> None:
        model = self.table.get(job)
        members = f'"id":"{question}","kind":"question","prompt":"?"'.encode()
        if model is None or model.foreign:
            return
        if not model.token or stale:
            if model.last_end != "ask":
                self.refuses(
                    StaleToken, 1, lambda: self.do.ask(job, model.tokens[-1], question, members)
                )
            return
        token = model.token
        if model.question and model.question != question and question not in model.answers:
            self.refuses(Conflict, 1, lambda: self.do.ask(job, token, question, members))
            return
        asked = self.run(self.do.ask(job, token, question, members))
        if model.state == "cancelling":
            assert model.step("ask")
            assert asked.status == "cancelled"
        elif question in model.answers:
            assert asked.answer == model.answers[question]
        elif not model.question:
            assert model.step("ask")
            model.question = question

    @rule(job=jobs, times=REPEATS, stale=STALE)
    def tell(self, job: str, times: int, stale: bool) -> None:
        """Progress, a line and a step's result; none of it moves a job."""
        model = self.table.get(job)
        held = model is not None and bool(model.token) and not stale
        token = model.token if model is not None and held else "1:0"
        for make in (
            lambda: self.do.progress(job, token, b'{"percent":1}'),
            lambda: self.do.log(job, token, 1, [b'{"stream":"stdout","text":"x"}']),
            lambda: self.do.step(job, token, "a", b"1"),
        ):
            if held:
                self.call(times, make)
            else:
                self.refuses(StaleToken, times, make)
        [word] = self.run(self.do.heartbeat("w", 15, [(job, token)]))
        assert word == (model.state if model is not None and held else "lost")

    # ------------------------------------------------------------------ people

    @rule(job=jobs, times=REPEATS)
    def cancel(self, job: str, times: int) -> None:
        model = self.table.get(job)
        if model is None:
            self.refuses(NotFound, times, lambda: self.do.cancel(job))
        elif model.state in ("completed", "failed"):
            self.refuses(Conflict, times, lambda: self.do.cancel(job))
        else:
            status = self.call(times, lambda: self.do.cancel(job))
            assert model.step("cancel") or model.state in ("cancelling", "cancelled")
            assert status == model.state

    @rule(
        job=jobs,
        question=st.sampled_from(["confirm", "q1", "q2"]),
        value=st.sampled_from([b'"yes"', b'"no"']),
        times=REPEATS,
    )
    def answer(self, job: str, question: str, value: bytes, times: int) -> None:
        model = self.table.get(job)
        if model is None:
            self.refuses(NotFound, times, lambda: self.do.answer(job, question, value))
            return
        known = model.answers.get(question)
        if known == value:
            self.call(times, lambda: self.do.answer(job, question, value))
        elif known is not None or model.question != question:
            self.refuses(Conflict, times, lambda: self.do.answer(job, question, value))
        else:
            refuse = question == "confirm" and value == b'"no"'
            self.call(times, lambda: self.do.answer(job, question, value))
            assert model.step("refuse" if refuse else "answer")
            model.answers[question] = value
            model.place = "delayed" if model.later else "ready"
            model.later = False

    @rule(sid=SESSIONS, times=REPEATS)
    def forget(self, sid: str, times: int) -> None:
        self.call(times, lambda: self.store.forget(sid))
        for model in [m for m in self.table.values() if m.session == sid and not m.silent]:
            if model.token:
                model.silent = True
                model.step("cancel")
            else:
                del self.table[model.id]
                self.forgotten.add(model.id)

    # ------------------------------------------------------------------ time

    @rule(job=jobs)
    def lease_ends(self, job: str) -> None:
        model = self.table.get(job)
        if model is not None and model.token:
            self.run(self.redis.zadd(keys.RUNNING, {job: 1}))
            if model.foreign and model.state == "input_required":
                model.step("withdraw")
            assert model.step("reap")
            model.place = "ready"
            assert self.run(self.ticker.once()).reaped == 1

    @rule(job=jobs)
    def falls_due(self, job: str) -> None:
        model = self.table.get(job)
        if (
            model is not None
            and model.place == "delayed"
            and model.state in ("pending", "retrying")
        ):
            self.run(self.redis.zadd(keys.DELAYED, {job: 1}))
            model.place = "ready"
            assert self.run(self.ticker.once()).promoted == 1

    @rule(job=jobs)
    def expires(self, job: str) -> None:
        model = self.table.get(job)
        if model is not None and model.expiring and model.state == "pending":
            self.run(self.redis.zadd(keys.EXPIRING, {job: 1}))
            assert model.step("expire")
            assert self.run(self.ticker.once()).expired == 1

    @rule(job=jobs)
    def nobody_knows_the_task_for_a_day(self, job: str) -> None:
        model = self.table.get(job)
        if model is not None and model.place == "parked" and model.state not in TERMINAL:
            self.run(self.redis.zadd(keys.parked("task:work"), {job: 1}))
            assert model.step("give_up")
            self.run(self.ticker.once())

    # ------------------------------------------------------------------ what must hold

    @invariant()
    def redis_is_sound(self) -> None:
        assert self.run(check(self.redis)) == []

    @invariant()
    def jobs_are_what_the_model_says(self) -> None:
        async def look() -> list[list[str | None]]:
            names = ("status", "token", "attempt", "lost", "released")
            return [await self.store.job_fields(job_id, *names) for job_id in self.table]

        for model, found in zip(self.table.values(), self.run(look()), strict=True):
            status, token, *counts = found
            assert status == model.state.replace("waiting", "input_required")
            assert (token or "") == model.token
            assert [int(count or 0) for count in counts] == list(model.counts.values())
        for job_id in self.forgotten:
            assert self.run(self.store.job(job_id)) is None

    @invariant()
    def every_end_is_told_once(self) -> None:
        for sid in ("s1", "s2"):
            told: dict[str, list[str]] = {}
            for entry in self.run(self.store.history(sid, b"0-0")).entries:
                kind = entry.body.split(b'"type":"job.')[1].split(b'"')[0].decode()
                told.setdefault(entry.key.decode(), []).append(kind)
            for model in self.table.values():
                if model.session == sid and not model.silent:
                    ends = [kind for kind in told[model.id] if kind in TERMINAL]
                    assert ends == ([model.state] if model.state in TERMINAL else [])


def explore(server: Server, **how: Any) -> None:
    machine = type("JobTableHere", (JobTable,), {"server": server})
    quiet = [HealthCheck.too_slow, HealthCheck.filter_too_much]
    run_state_machine_as_test(
        machine, settings=settings(deadline=None, suppress_health_check=quiet, **how)
    )


def test_the_scripts_and_the_model_agree(shared_server: Server) -> None:
    explore(shared_server, max_examples=20, stateful_step_count=30, derandomize=True)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_scripts_and_the_model_agree_at_length(shared_server: Server) -> None:
    explore(shared_server, max_examples=60, stateful_step_count=50)
