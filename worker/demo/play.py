"""The conversation itself, and the checks that it really came true."""

from __future__ import annotations

import re
from typing import Final

from hub.agent.telling import short_test
from hub.jobs import Job
from hub.pages import Message
from worker.demo.client import TERMINAL, Broken, Person, Seen
from worker.demo.screen import Screen

SHORT: Final = 20.0
LONG: Final = 150.0
FAILING: Final = {"test_auth.py::test_login_timeout", "test_api.py::test_rate_limit"}
TESTS: Final = 49


async def play(person: Person, screen: Screen) -> None:
    """Plays all of it. Raises Broken at the first thing that does not come true."""
    conversation = _Conversation(person, screen)
    await conversation.the_tests()
    await conversation.the_failures()
    await conversation.the_deployment()
    await conversation.the_stop()


def expect(true: bool, what: str) -> None:
    """Raises Broken unless it is true."""
    if not true:
        raise Broken(f"it is not true that {what}")


class _Conversation:
    def __init__(self, person: Person, screen: Screen) -> None:
        self._person = person
        self._screen = screen
        self._view = person.view

    async def the_tests(self) -> None:
        self._screen.step("A job is queued, and answered at once")
        job_id = await self._start("Run the full test suite", "run_tests")
        self._screen.ok(f"answered with the job's id, {job_id}")

        asked_at = await self._progress(job_id, 12)
        self._screen.step("Asked midway")
        answer = await self._ask("Are the tests done?")
        expect(
            self._view.jobs[job_id].status not in TERMINAL,
            "the tests were still running when they were asked about",
        )
        told = re.search(r"(\d+) of (\d+)", answer.text)
        expect(told is not None, "the answer says how many tests are done")
        done, total = (int(told[1]), int(told[2])) if told else (0, 0)
        progress = self._view.jobs[job_id].progress
        latest = (progress and progress.current) or 0
        expect(total == TESTS, f"there are {TESTS} tests")
        # What was pushed may be a tenth of a second behind what the agent read.
        expect(asked_at <= done <= latest + 2, "the answer is the true progress")
        expect(bool(self._view.tails.get(job_id)), "the tests' log was pushed")
        self._screen.ok(f"answered with the true progress, {done} of {total}")

        self._screen.step("The tests end, and the agent says how")
        job, word = await self._end(job_id, "completed")
        result = job.result
        names = {short_test(one["test"]) for one in result["failures"]}
        expect(names == FAILING, f"just {' and '.join(sorted(FAILING))} failed")
        expect(result["passed"] == TESTS - len(FAILING), "all the others passed")
        for name in sorted(FAILING):
            expect(name in word.text, f"the agent names {name}")
        expect("passed" in word.text, "the agent says how many passed")
        self._screen.ok(f"{result['passed']} passed, {result['failed']} failed, by name")

    async def the_failures(self) -> None:
        self._screen.step("It offered to look at the failures")
        answer = await self._ask("yes")
        for name in sorted(FAILING):
            expect(name.partition("::")[2] in answer.text, f"the agent shows {name}")
        self._screen.ok("shown, with what the log says")

    async def the_deployment(self) -> None:
        self._screen.step("A deployment waits for a yes")
        job_id = await self._start("Deploy to staging", "deploy")
        job = await self._person.until(
            lambda view: _with_status(view, job_id, "input_required"), "the approval", SHORT
        )
        expect(job.input is not None and job.input.kind == "confirm", "the job asks for approval")
        expect(job.started_at is None, "nothing has run before the yes")
        self._screen.ok("nothing runs before it is approved")
        await self._ask("yes")
        job, _ = await self._end(job_id, "completed")
        events = self._view.events[job_id]
        expect(events[0] == "job.input_required", "approval was asked for first")
        expect(
            events.index("job.pending") < events.index("job.running"),
            "it ran after it was approved",
        )
        expect(job.result["environment"] == "staging", "staging is what was deployed to")
        self._screen.ok(f"approved, then deployed: version {job.result.get('version')}")

    async def the_stop(self) -> None:
        self._screen.step("And one is stopped")
        job_id = await self._start("Run the full test suite", "run_tests")
        await self._progress(job_id, 3)
        await self._ask("Stop it")
        job, _ = await self._end(job_id, "cancelled")
        done = (job.progress and job.progress.current) or 0
        expect(done < TESTS, "it was stopped before its end")
        self._screen.ok(f"stopped at {done:g} of {TESTS}")

    # ------------------------------------------------------------------

    async def _ask(self, text: str) -> Message:
        """Says something; returns the agent's answer."""
        message_id = await self._person.say(text)
        return await self._person.until(
            lambda view: view.messages.get(f"re.{message_id}"), f"an answer to “{text}”", SHORT
        )

    async def _start(self, text: str, task: str) -> str:
        answer = await self._ask(text)
        job_id = str(answer.job_id)
        job = await self._person.until(
            lambda view: view.jobs.get(job_id), f"the job of “{text}”", SHORT
        )
        expect(job.task == task, f"“{text}” started {task}")
        expect(job_id in answer.text, "the answer has the job's id")
        expect(job.status not in TERMINAL, "the answer came before the job's end")
        return job_id

    async def _progress(self, job_id: str, least: int) -> int:
        """Waits until a job's progress is there; returns it."""

        def found(view: Seen) -> int | None:
            job = view.jobs[job_id]
            if job.status in TERMINAL:
                raise Broken(f"the job ended ({job.status}{_why(job)}) before {least} tests")
            current = (job.progress and job.progress.current) or 0
            return int(current) if current >= least else None

        return await self._person.until(found, f"{least} tests to be done", LONG)

    async def _end(self, job_id: str, status: str) -> tuple[Job, Message]:
        """Waits for a job's end, which has to be this one, and the agent's word on it."""
        job = await self._person.until(
            lambda view: _with_status(view, job_id, *TERMINAL), "the job's end", LONG
        )
        expect(job.status == status, f"the job is {status}, not {job.status}{_why(job)}")
        word = await self._person.until(
            lambda view: view.messages.get(f"word.{job_id}"), "the agent's word on it", SHORT
        )
        return job, word


def _with_status(view: Seen, job_id: str, *statuses: str) -> Job | None:
    job = view.jobs[job_id]
    return job if job.status in statuses else None


def _why(job: Job) -> str:
    return f": {job.error.message}" if job.error else ""
