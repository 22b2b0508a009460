"""What waits to be told of other queues' jobs, and what is told of them. No I/O."""

from __future__ import annotations

import msgspec
import pytest

from worker.integrations import backlog as bounds
from worker.integrations.backlog import Backlog, Sayings, Step
from worker.integrations.facts import (
    as_json,
    error_json,
    foreign_job,
    progress_json,
    ref_of,
    task_name,
    title_of,
    worker_name,
)


def step(size: int = 1, *, beginning: bool = False, gone: list[str] | None = None) -> Step:
    dropped = None if gone is None else (lambda: gone.append("gone"))
    return Step(lambda: None, size, beginning=beginning, dropped=dropped)


def test_steps_are_taken_in_order() -> None:
    steps, waiting = [step() for _ in range(3)], Backlog()
    for each in steps:
        waiting.put(each)
    for each in steps:
        assert waiting.head is each
        waiting.done(each)
        waiting.done(each)
    assert not waiting


def test_beginnings_go_first_where_there_is_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MAX_STEPS", 3)
    waiting, gone = Backlog(), list[str]()
    ends = [step() for _ in range(3)]
    waiting.put(ends[0])
    waiting.put(step(beginning=True, gone=gone))
    waiting.put(ends[1])
    waiting.put(ends[2])
    assert (len(waiting), waiting.lost, gone) == (3, 1, ["gone"])
    assert waiting.head is ends[0]
    waiting.put(step())
    assert waiting.head is ends[1]
    waiting.done(ends[0])  # it was being told when it was dropped
    assert (waiting.head, waiting.lost) == (ends[1], 2)


def test_steps_are_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MAX_BYTES", 100)
    waiting = Backlog()
    for _ in range(5):
        waiting.put(step(40))
    assert len(waiting) == 2
    waiting.put(step(1_000))
    assert len(waiting) == 1


def texts(lines: list[bytes]) -> list[str]:
    return [msgspec.json.decode(line)["text"] for line in lines]


def test_lines_that_find_no_room_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MAX_LINES", 3)
    said = Sayings(100)
    said.write("1\n2\n3\n4\r\n5\n", "stdout")
    assert texts(said.batch()) == ["1", "2", "3"]
    said.lines_told(3)
    said.write("6", "stdout")
    assert texts(said.batch()) == ["[3 lines were not kept: Jobcast could not be reached in time]"]
    said.lines_told(1)
    assert not said
    said.write("7", "stderr")
    assert texts(said.batch()) == ["7"]
    said.clear()
    assert not said


def test_batches_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "BATCH_BYTES", 100)
    said = Sayings(1_000)
    said.write("x" * 60, "stdout")
    said.write("y" * 600, "stdout")
    assert texts(said.batch()) == ["x" * 60]
    said.lines_told(1)
    assert texts(said.batch()) == ["y" * 600]


def test_newer_progress_stays() -> None:
    said = Sayings(100)
    said.progress = old = b'{"percent":1}'
    said.progress = b'{"percent":2}'
    said.progress_told(old)
    assert said
    said.progress_told(said.progress)
    assert not said


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("proj.tasks.add", "proj.tasks.add"),
        ("add:two <lambda>", "add_two__lambda_"),
        ("1st", "st"),
        ("", "_"),
        ("a." + "b" * 80, "b" * 64),
    ],
)
def test_names_of_tasks(name: str, shown: str) -> None:
    assert task_name(name) == shown


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("shop.mail.send_newsletter", "Send newsletter"),
        ("importCSV", "ImportCSV"),
        ("_private__thing", "Private thing"),
        ("cron:tidy-up", "Cron tidy up"),
        ("__", "__"),
    ],
)
def test_titles(name: str, title: str) -> None:
    assert title_of(name) == title


def test_refs_and_workers() -> None:
    assert ref_of("rq", "a") == "rq:a"
    assert ref_of("rq", "a" * 300) != ref_of("rq", "a" * 301)
    assert len(ref_of("rq", "a" * 300)) < 100
    assert worker_name('celery@my host"') == "celery@my_host_"


def test_what_is_told_of_a_job() -> None:
    job = foreign_job("x", "1", "t", "s1", args=(1, {2}), kwargs={"k": b"v"}, title="t" * 500)
    assert job is not None
    assert msgspec.json.decode(job.params) == {"args": [1, [2]], "k": "dg=="}
    assert len(job.title or "") == 200
    assert msgspec.json.decode(job.metadata or b"") == {"source": "x", "id": "1"}
    large = foreign_job("x", "1", "t", "s1", kwargs={"k": "v" * 100}, params_bytes=50)
    assert large is not None
    assert large.params == b"{}"


def test_what_json_does_not_know() -> None:
    assert as_json("x" * 1_000, 1_000) is None
    assert as_json({(1, 2): 3}, 1_000) == b'{"(1, 2)":3}'
    loop: list[object] = []
    loop.append(loop)
    assert as_json(loop, 1_000) is None
    assert as_json(range(3), 1_000) == b'"range(0, 3)"'
    assert as_json(float("nan"), 1_000) == b"null"


def test_errors() -> None:
    try:
        raise KeyError("k")
    except KeyError as error:
        value, trace = error_json(error, code="timeout")
    assert msgspec.json.decode(value) == {"code": "timeout", "message": "'k'", "type": "KeyError"}
    assert "raise KeyError" in msgspec.json.decode(trace)
    assert error_json("text") == (b'{"code":"error","message":"text"}', b"")


@pytest.mark.parametrize(
    ("args", "told", "shown"),
    [
        ((45,), {}, {"percent": 45.0}),
        ((23, 47), {}, {"percent": 48.9, "current": 23, "total": 47}),
        ((), {"current": 1, "total": 0}, {"current": 1, "total": 0}),
        ((-5,), {"message": 7}, {"percent": 0.0, "message": "7"}),
        ((float("inf"),), {}, {}),
    ],
)
def test_progress(args: tuple[float, ...], told: dict[str, object], shown: object) -> None:
    assert msgspec.json.decode(progress_json(*args, **told)) == shown  # type: ignore[arg-type]  # on purpose
