"""What tools tell a model: complete, in words, and never longer than said."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.agent.reports import MAX_ANSWER, clip, listing, report, started, trouble
from hub.errors import BadInput, Busy
from hub.jobs import Input, Job, JobError, Progress

TIME = "2026-11-24T10:00:00.000Z"


def job(**more: Any) -> Job:
    base: dict[str, Any] = {"id": "j1", "session_id": "s1", "task": "t", "status": "running"}
    return Job(**{**base, "rev": 3, "created_at": TIME, "updated_at": TIME, **more})


def test_a_running_job_is_told_with_progress_and_log() -> None:
    found = job(
        title="Run tests",
        max_attempts=3,
        attempt=2,
        progress=Progress(percent=48.9, current=23, total=47, message="test_a\n_b"),
        log_lines=9,
    )
    text = report(found, ["\x1b[31mred\x1b[0m line", "last"])
    assert text == (
        "Job j1 (t, 'Run tests') is running, attempt 2 of 3. Progress: 23 of 47, 49 %: test_a _b."
        "\nLast log lines (of 9):\nred line\nlast"
    )


def test_questions_say_how_to_answer_and_approvals_that_only_a_person_can() -> None:
    asks = Input(id="q1", kind="question", prompt="Which?", options=["a", "b"])
    text = report(job(status="input_required", input=asks))
    assert "(input_id q1): Which? Options: 'a', 'b'." in text
    assert "answer_job" in text
    confirm = job(status="input_required", input=Input(id="c", kind="confirm", prompt="Sure?"))
    for text in (report(confirm), started(confirm)):
        assert "Sure?" in text
        assert "nly the person can give it" in text
        assert "answer_job" not in text


def test_results_and_errors_are_told() -> None:
    done = job(status="completed", result={"passed": 47}, finished_at=TIME)
    assert 'Result (JSON): {"passed":47}' in report(done)
    assert "Result (JSON): [1]" in report(job(status="completed", result=msgspec.Raw(b"[1]")))
    failed = job(status="failed", error=JobError("timeout", "took 9 s"), retried_by="j2")
    assert "Error (timeout): took 9 s" in report(failed)
    assert "run again as job j2" in report(failed)


@given(st.text(max_size=6_000), st.lists(st.text(max_size=900), max_size=40))
def test_no_answer_is_longer_than_said(text: str, log: list[str]) -> None:
    found = job(
        status="failed",
        title=text,
        result=text,
        error=JobError("error", text, type=text),
        progress=Progress(message=text),
        input=Input(id="q", kind="question", prompt=text, options=log),
        log_lines=len(log),
    )
    assert len(report(found, log)) <= MAX_ANSWER
    assert len(listing([found] * 50, True)) <= MAX_ANSWER
    assert len(trouble(BadInput([("/a", line) for line in log]))) <= MAX_ANSWER


def test_the_last_lines_of_a_log_are_the_ones_that_fit() -> None:
    lines = [f"{n} " + "x" * 290 for n in range(30)]
    text = report(job(log_lines=30, result="y" * 5_000), lines)
    assert f"\n{lines[-1]}" in text
    assert f"\n{lines[0]}" not in text


def test_what_is_cut_says_so() -> None:
    assert clip("a" * 50, 50) == "a" * 50
    assert clip("a" * 51, 50).endswith("… (cut; 51 characters in all)")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (BadInput([("/job_id", "is required"), ("", "odd")]), "- job_id: is required\n- arguments"),
        (Busy("The outbox is full."), "could not be done: The outbox is full."),
    ],
)
def test_trouble_is_told(error: Any, text: str) -> None:
    assert text in trouble(error)
