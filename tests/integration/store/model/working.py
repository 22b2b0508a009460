"""Rules: what a worker says of the job that it holds, or held."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from hub.errors import Conflict, StaleToken
from tests.integration.store.model.job import ENDS, ERROR, HELD
from tests.integration.store.model.machine import JOBS, REPEATS, STALE, Machine


class Working(Machine):
    """A worker's calls on its claims."""

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
        job=JOBS,
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

    @rule(job=JOBS, times=REPEATS, stale=STALE)
    def retry(self, job: str, times: int, stale: bool) -> None:
        if not self.is_foreign(job):
            make = lambda token: self.do.retry(job, token, 60, ERROR)  # noqa: E731 (see by_worker)
            self.by_worker(job, "retry", times, stale, make)

    @rule(job=JOBS, times=REPEATS, stale=STALE)
    def release(self, job: str, times: int, stale: bool) -> None:
        if not self.is_foreign(job):
            self.by_worker(job, "release", times, stale, lambda token: self.do.release(job, token))

    @rule(job=JOBS, times=REPEATS, stale=STALE)
    def withdraw(self, job: str, times: int, stale: bool) -> None:
        if not self.is_foreign(job):
            self.by_worker(job, "withdraw", times, stale, lambda t: self.do.withdraw(job, t))

    def is_foreign(self, job: str) -> bool:
        """Jobs of somebody else's queue are told of by three calls only."""
        return job in self.table and self.table[job].foreign

    @rule(job=JOBS, question=st.sampled_from(["q1", "q2"]), stale=STALE)
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

    @rule(job=JOBS, times=REPEATS, stale=STALE)
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
