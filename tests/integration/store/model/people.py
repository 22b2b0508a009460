"""Rules: what people do, and what time does."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import rule

from hub import keys
from hub.errors import Conflict, NotFound
from hub.states import TERMINAL
from tests.integration.store.model.machine import JOBS, REPEATS, SESSIONS, Machine


class People(Machine):
    """Cancel, answer and forget."""

    @rule(job=JOBS, times=REPEATS)
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
        job=JOBS,
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


class Time(Machine):
    """Leases end, jobs fall due and expire."""

    @rule(job=JOBS)
    def lease_ends(self, job: str) -> None:
        model = self.table.get(job)
        if model is not None and model.token:
            self.run(self.redis.zadd(keys.RUNNING, {job: 1}))
            if model.foreign and model.state == "input_required":
                model.step("withdraw")
            assert model.step("reap")
            model.place = "ready"
            assert self.run(self.ticker.once()).reaped == 1

    @rule(job=JOBS)
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

    @rule(job=JOBS)
    def expires(self, job: str) -> None:
        model = self.table.get(job)
        if model is not None and model.expiring and model.state == "pending":
            self.run(self.redis.zadd(keys.EXPIRING, {job: 1}))
            assert model.step("expire")
            assert self.run(self.ticker.once()).expired == 1

    @rule(job=JOBS)
    def nobody_knows_the_task_for_a_day(self, job: str) -> None:
        model = self.table.get(job)
        if model is not None and model.place == "parked" and model.state not in TERMINAL:
            self.run(self.redis.zadd(keys.parked("task:work"), {job: 1}))
            assert model.step("give_up")
            self.run(self.ticker.once())
