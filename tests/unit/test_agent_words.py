"""What the agent says."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.agent import telling, words
from hub.agent.announced import Tasks
from hub.agent.markdown import MAX_SAID, code, cut, duration, listed, plain
from hub.errors import BadInput
from hub.jobs import Input, Job, JobError, Progress
from hub.states import Status

ENVIRONMENT = {"type": "string", "enum": ["staging", "production"], "description": "Where to."}
TASKS = Tasks(
    {
        "run_tests": {
            "name": "run_tests",
            "title": "Run tests",
            "description": "Run the test suite.",
            "params": {"type": "object", "properties": {"selector": {"type": "string"}}},
        },
        "deploy": {
            "name": "deploy",
            "title": "Deploy",
            "confirm": "Deploy to {environment}?",
            "params": {
                "type": "object",
                "properties": {"environment": ENVIRONMENT},
                "required": ["environment"],
            },
        },
    }
)
DEPLOY = TASKS.named("deploy")
STARTED = "2026-11-23T19:20:00.000Z"
LATER = "2026-11-23T19:20:12.400Z"


def job(status: Status = "running", task: str = "run_tests", **fields: Any) -> Job:
    for name in ("params", "result"):
        if name in fields:
            fields[name] = msgspec.Raw(msgspec.json.encode(fields[name]))
    fields.setdefault("started_at", STARTED)
    if status in ("completed", "failed", "cancelled"):
        fields.setdefault("finished_at", LATER)
    return Job(
        id="01991f00-0000-7abc-8000-000000000001",
        session_id="s1",
        task=task,
        status=status,
        rev=1,
        created_at=STARTED,
        updated_at=LATER,
        **fields,
    )


def run_of(**result: Any) -> Job:
    return job("completed", result={"passed": 47, "failed": 0, "failures": [], **result})


TWO = run_of(
    failed=2,
    failures=[
        {"test": "tests/test_auth.py::test_login_timeout", "message": "assert 31 <= 30"},
        {"test": "tests/test_api.py::test_rate_limit", "message": "assert 200 == 429"},
    ],
)


def test_a_start_says_the_id() -> None:
    made = job("pending", started_at=None)
    assert words.started(made, TASKS) == (
        "I started **Run tests**. Job `01991f00-0000-7abc-8000-000000000001`; "
        "its card shows how it goes."
    )


def test_an_approval_says_what_is_asked_and_that_nothing_runs() -> None:
    asked = Input("confirm", "confirm", "Deploy to staging?", ["yes", "no"])
    said = words.started(job("input_required", "deploy", input=asked), TASKS)
    assert "**Deploy** needs your approval: Deploy to staging? Nothing runs before that." in said


@pytest.mark.parametrize(
    ("given_job", "said"),
    [
        (
            job(progress=Progress(48.9, 23, 47, "Running tests, 1 failed")),
            "**Run tests** is not done yet: 23 of 47, 49 %: Running tests, 1 failed; "
            "it has run for 12 s.",
        ),
        (job(), "**Run tests** is not done yet; it has run for 12 s."),
        (job("pending", started_at=None), "**Run tests** waits for a free worker."),
        (
            job("retrying", attempt=2, max_attempts=3),
            "**Run tests** failed and will be tried again (try 2 of 3).",
        ),
        (job("cancelling"), "**Run tests** is being stopped."),
        (
            job("input_required", input=Input("q", "question", "Which_one?")),
            "**Run tests** waits for your answer: Which\\_one?",
        ),
        (run_of(), "**Run tests** ended after 12 s: **47 passed, 0 failed**."),
    ],
)
def test_status(given_job: Job, said: str) -> None:
    assert telling.status(given_job, TASKS, LATER) == said


def test_several_statuses_are_a_list() -> None:
    assert telling.statuses([job(), job("cancelling")], TASKS, LATER).count("\n- ") == 1


@pytest.mark.parametrize(
    ("given_job", "said"),
    [
        (
            TWO,
            "**Run tests** ended after 12 s: **47 passed, 2 failed**: "
            "`test_auth.py::test_login_timeout` and `test_api.py::test_rate_limit`. "
            "Shall I look at the failures?",
        ),
        (
            run_of(failed=3, errors=1, skipped=2, failures=[{"test": "a.py::t", "message": ""}]),
            "**Run tests** ended after 12 s: "
            "**47 passed, 3 failed, 1 with errors, 2 skipped**: `a.py::t` and 3 more. "
            "Shall I look at the failures?",
        ),
        (
            run_of(failed=1, stopped="Interrupted: 1 error"),
            "**Run tests** ended after 12 s: **47 passed, 1 failed**. "
            "The run ended early: Interrupted: 1 error. Shall I look at the failures?",
        ),
        (
            job("cancelled", progress=Progress(50, 5, 10, "Running tests")),
            "**Run tests** was cancelled after 12 s, at 5 of 10, 50 %.",
        ),
        (job("cancelled", started_at=None), "**Run tests** was cancelled before it ran."),
        (
            job(
                "completed",
                "deploy",
                params={"environment": "staging"},
                result={
                    "version": "1.4.2",
                    "links": [
                        {"title": "The site", "url": "https://staging.example/"},
                        {"title": "Bad", "url": "javascript:alert(1)"},
                    ],
                },
            ),
            "**Deploy** (`staging`) is done after 12 s.\n\nversion `1.4.2`.\n\n"
            "- [The site](https://staging.example/)",
        ),
        (job("completed", result=None), "**Run tests** is done after 12 s."),
        (job("completed", result={"exit_code": 0}), "**Run tests** is done after 12 s."),
    ],
)
def test_end(given_job: Job, said: str) -> None:
    assert telling.ended(given_job, TASKS) == said


def test_many_failures_are_not_all_named() -> None:
    many = [{"test": f"t.py::test_{n}", "message": "x"} for n in range(15)]
    said = telling.ended(run_of(failed=15, failures=many), TASKS)
    assert "`t.py::test_9` and 5 more." in said
    assert "test_10" not in said


def test_a_failure_says_why_and_shows_the_end_of_the_log() -> None:
    error = JobError("timeout", "took more than 600 s")
    said = telling.ended(job("failed", error=error), TASKS, [f"line {n}" for n in range(20)])
    assert said.startswith("**Run tests** failed after 12 s. It took longer than it may.")
    assert "line 19\n```" in said
    assert "line 11\n" not in said


LOG = """\
=================== FAILURES ===================
______________ test_login_timeout ______________

    def test_login_timeout():
        session = login()
>       assert session.age <= 30
E       assert 31 <= 30

tests/test_auth.py:12: AssertionError
______________ test_rate_limit ______________
>       assert status == 429
E       assert 200 == 429
=========== short test summary info ============
""".splitlines()


def test_failures_are_shown_with_their_part_of_the_log() -> None:
    said = telling.failures(TWO, TASKS, LOG)
    assert "These 2 tests failed in **Run tests**:" in said
    first, second = said.split("`tests/test_api.py::test_rate_limit`: ")
    assert ">       assert session.age <= 30\nE       assert 31 <= 30" in first
    assert "429" not in first
    assert ">       assert status == 429" in second
    assert "summary" not in second


def test_failures_without_a_log_are_shown_by_their_message() -> None:
    said = telling.failures(TWO, TASKS, [])
    assert "`tests/test_auth.py::test_login_timeout`: `assert 31 <= 30`" in said


def test_nothing_in_a_log_can_end_its_block() -> None:
    said = telling.ended(job("failed"), TASKS, ["```", "\x1b[31mred\x1b[0m"])
    assert said.endswith("```\n'''\nred\n```")


def test_what_lacks_is_asked_for_with_what_would_fit() -> None:
    assert DEPLOY is not None
    said = words.lacking(DEPLOY, {}, ["environment"])
    assert "What `environment` shall I use for **Deploy**?" in said
    assert "It can be `staging` or `production`." in said
    assert "`/deploy environment=staging`" in said


def test_bad_input_names_the_param_and_what_would_fit() -> None:
    said = words.bad_input(BadInput([("/params/environment", "is not one of these.")]), DEPLOY)
    assert "- `environment`: is not one of these. Where to. It can be `staging`" in said


def test_help_lists_the_tasks_with_lines_that_start_them() -> None:
    said = words.helped(TASKS)
    assert "**Run tests**: Run the test suite. `/run_tests`" in said
    assert "`/deploy environment=staging`" in said
    assert "No worker has announced" in words.helped(Tasks({}))


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (60, "1 min"),
        (65, "1 min 5 s"),
        (3600, "1 h"),
        (7800, "2 h 10 min"),
    ],
)
def test_duration(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_listed() -> None:
    assert [listed(x) for x in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        "",
        "a",
        "a and b",
        "a, b and c",
    ]


@given(st.text())
def test_code_is_one_span(text: str) -> None:
    said = code(text)
    assert said.count("`") == 2
    assert "\n" not in said


@given(st.text())
def test_plain_is_one_line_without_markup(text: str) -> None:
    said = plain(text)
    assert len(said.splitlines()) <= 1
    assert "](" not in said
    assert "<" not in said.replace("\\<", "")


@given(st.text(max_size=20_000))
def test_what_is_said_is_bounded(text: str) -> None:
    assert len(cut(text)) <= MAX_SAID
