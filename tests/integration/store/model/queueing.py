"""Rules: jobs are queued, in every way that there is, and claimed."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from hub.claims import Claim
from hub.errors import Conflict, NotFound
from hub.jobs import NewJob, new_job_id
from hub.queueing import Enqueued
from hub.states import TERMINAL
from tests.integration.store.model.job import Model
from tests.integration.store.model.machine import JOBS, REPEATS, SESSIONS, Machine


class Queueing(Machine):
    """Callers that queue and workers that claim."""

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

    @rule(target=JOBS, sid=SESSIONS, times=REPEATS, attempts=st.integers(1, 3), late=st.booleans())
    def enqueue(self, sid: str, times: int, attempts: int, late: bool) -> str:
        new = NewJob(session_id=sid, task="work", max_attempts=attempts, delay=60 if late else None)
        place = "delayed" if late else "ready"
        return self.add(new, times, None, state="pending", place=place, attempts_allowed=attempts)

    @rule(target=JOBS, sid=SESSIONS, times=REPEATS)
    def enqueue_expiring(self, sid: str, times: int) -> str:
        new = NewJob(session_id=sid, task="work", expires_in=60, max_attempts=2)
        return self.add(new, times, None, state="pending", expiring=True)

    @rule(target=JOBS, sid=SESSIONS, times=REPEATS, late=st.booleans())
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

    @rule(target=JOBS, sid=SESSIONS)
    def enqueue_foreign(self, sid: str) -> str:
        new = NewJob(session_id=sid, task="theirs", queue=None)
        made: Enqueued = self.run(self.store.enqueue(new))
        assert made.token is not None
        model = Model(made.job.id, sid, "running", token=made.token, foreign=True)
        self.table[model.id] = model
        return model.id

    @rule(target=JOBS, sid=SESSIONS, times=REPEATS, key=st.sampled_from("ab"))
    def enqueue_unique(self, sid: str, times: int, key: str) -> str:
        new = NewJob(session_id=sid, task="work", key=key, max_attempts=2)
        holder = next((m for m in self.table.values() if self.holds(m, sid, key)), None)
        return self.add(new, times, holder, state="pending", key=key)

    @staticmethod
    def holds(model: Model, sid: str, key: str) -> bool:
        live = model.state not in TERMINAL and not model.silent
        return live and (model.session, model.key) == (sid, key)

    @rule(target=JOBS, sid=SESSIONS, times=REPEATS, name=st.sampled_from("xy"))
    def enqueue_idempotent(self, sid: str, times: int, name: str) -> str:
        name = f"{sid}{name}"
        new = NewJob(session_id=sid, task="work", idempotency_key=name, max_attempts=2)
        found = self.table.get(self.idempotent.get(name, ""))
        found = None if found is None or found.silent else found
        job_id = self.idempotent[name] = self.add(new, times, found, state="pending")
        return job_id

    @rule(target=JOBS, job=JOBS, times=REPEATS)
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
