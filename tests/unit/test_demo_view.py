"""The demo's reducer."""

from __future__ import annotations

from typing import Any

from worker.demo.client import TAIL, View


def event(kind: str, rev: int = 1, **data: Any) -> dict[str, Any]:
    return {"type": kind, "job_id": "j1", "rev": rev, "data": data}


def test_what_is_not_newer_changes_nothing() -> None:
    view = View()
    assert view.take(event("job.pending", 1, status="pending", task="t")) == "j1"
    assert view.take(event("job.running", 2, status="running")) == "j1"
    assert view.take(event("job.progress", 2, progress={"percent": 1})) is None
    assert view.take(event("job.progress", 3, progress={"percent": 2})) == "j1"
    assert view.jobs["j1"] == {
        "rev": 3,
        "status": "running",
        "task": "t",
        "progress": {"percent": 2},
    }
    assert view.events["j1"] == ["job.pending", "job.running"]


def test_the_tail_of_the_log_is_kept_without_blanks_and_markers() -> None:
    view = View()
    texts = ["", "::jobcast progress 1/2 x", *(f"line {n}" for n in range(20))]
    lines = [{"stream": "stdout", "text": text} for text in texts]
    view.take({"type": "job.log", "job_id": "j1", "line": 1, "data": {"lines": lines}})
    assert list(view.tails["j1"]) == [f"line {n}" for n in range(20 - TAIL, 20)]


def test_messages_and_the_picture_of_a_hello() -> None:
    view = View()
    message = {"message_id": "m1", "text": "hi"}
    assert view.take({"type": "message.user", "data": message}) == "m1"
    assert view.messages["m1"]["role"] == "user"
    hello = {"type": "hello", "jobs": [{"id": "j2", "rev": 4}], "messages": []}
    assert view.take(hello) is None
    assert view.jobs == {"j2": {"id": "j2", "rev": 4}}
    assert view.take({"type": "heartbeat", "cursors": {}}) is None
