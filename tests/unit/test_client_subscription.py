"""A subscription without its I/O: positions, losses, and coming back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hub.client import Hello, JobEvent, LogEvent, LogGap, MessageEvent, ProgressEvent, View
from hub.client.errors import SessionDeleted, Unexpected
from hub.client.events import Event, PartialMessage
from hub.client.logs import LOOK, WAIT, LogFollower
from hub.client.subscription import HELLO_SECONDS, SILENCE_SECONDS, Dropped, Subscription
from hub.errors import BadInput, Refused, Unauthenticated
from hub.jobs import Job
from hub.pages import LogLine, LogPage

NOW = "2026-11-23T19:20:31.042Z"
JOB: dict[str, Any] = {
    "id": "j1",
    "session_id": "s1",
    "task": "t",
    "status": "pending",
    "rev": 1,
    "created_at": NOW,
    "updated_at": NOW,
}


def hello(cursor: str = "0-0", *jobs: dict[str, Any], resumed: bool = False, **more: Any) -> str:
    return json.dumps(
        {
            "type": "hello",
            "session_id": "s1",
            "cursor": cursor,
            "resumed": resumed,
            "jobs": jobs,
            "more": None,
            "messages": [],
            "time": NOW,
            **more,
        }
    )


def job(cursor: str, status: str, rev: int, **data: Any) -> str:
    return json.dumps(
        {
            "id": cursor,
            "type": f"job.{status}",
            "session_id": "s1",
            "job_id": "j1",
            "rev": rev,
            "time": NOW,
            "data": {"status": status, **data},
        }
    )


def heartbeat(cursor: str) -> str:
    return json.dumps({"type": "heartbeat", "cursors": {"s1": cursor}, "time": NOW})


def frame(kind: str, data: dict[str, Any], **more: Any) -> str:
    return json.dumps(
        {"type": kind, "session_id": "s1", "job_id": "j1", "time": NOW, "data": data, **more}
    )


def standing(*frames: str, after: str | None = None) -> Subscription:
    subscription = Subscription("s1", after)
    subscription.opened()
    for each in frames or (hello(),):
        subscription.received(each)
    return subscription


def test_it_goes_on_after_the_last_lifecycle_event() -> None:
    subscription = Subscription("s 1")
    assert subscription.path == "/ws/s%201"
    subscription.opened()
    assert isinstance(subscription.received(hello("3-9")), Hello)
    assert subscription.path == "/ws/s%201?after=3-9"
    event = subscription.received(job("4-7", "running", 2))
    assert isinstance(event, JobEvent)
    assert (event.status, event.cursor, event.data) == ("running", "4-7", {"status": "running"})
    subscription.received(frame("job.progress", {"progress": {"percent": 1}}, rev=3))
    assert subscription.cursor == "4-7"


def test_every_kind_of_event() -> None:
    subscription = standing()
    seen = [
        subscription.received(text)
        for text in (
            frame("job.progress", {"progress": {"percent": 48.9}}, rev=5),
            frame("job.log", {"lines": [{"stream": "stderr", "text": "x"}]}, line=7),
            frame("job.log_gap", {"from": 8, "to": 9}),
            frame("message.agent", {"message_id": "m", "text": "hi", "job_id": "j1"}, id="5-5"),
            frame("message.partial", {"message_id": "m", "text": "h"}),
            frame("job.of_the_future", {"x": 1}),
            frame("something", {}),
            heartbeat("5-5"),
        )
    ]
    progress, log, gap, message, partial, *nothing = seen
    assert isinstance(progress, ProgressEvent)
    assert progress.progress is not None
    assert progress.progress.percent == 48.9
    assert isinstance(log, LogEvent)
    assert (log.line, log.lines[0].stream, log.lines[0].text) == (7, "stderr", "x")
    assert isinstance(gap, LogGap)
    assert (gap.first, gap.last) == (8, 9)
    assert isinstance(message, MessageEvent)
    assert (message.message.role, message.message.job_id) == ("agent", "j1")
    assert isinstance(partial, PartialMessage)
    assert nothing == [None, None, None]
    assert not subscription.unsent


def test_a_heartbeat_that_knows_of_more_asks_again_and_tells_nothing_twice() -> None:
    subscription = standing(hello("3-9"))
    assert subscription.received(heartbeat("4-1")) is None
    [asked] = subscription.unsent
    assert json.loads(asked) == {
        "type": "subscribe",
        "session_id": "s1",
        "after": "3-9",
        "ref": 1,
    }
    assert subscription.patience == HELLO_SECONDS
    # On its way before the answer: it comes again after it.
    assert subscription.received(job("4-1", "running", 2)) is None
    assert subscription.received(heartbeat("4-1")) is None
    assert len(subscription.unsent) == 1
    assert isinstance(subscription.received(hello("3-9", resumed=True, ref=1)), Hello)
    assert isinstance(subscription.received(job("4-1", "running", 2)), JobEvent)
    assert subscription.received(heartbeat("4-1")) is None
    assert len(subscription.unsent) == 1
    assert subscription.patience == SILENCE_SECONDS


def test_a_snapshot_sets_the_position_whatever_it_was() -> None:
    subscription = standing(hello("900-1"), hello("2-2"))
    assert subscription.cursor == "2-2"


def test_a_goodbye_says_when_to_come_back() -> None:
    subscription = standing()
    subscription.received(json.dumps({"type": "goodbye", "code": 1001, "reconnect_after": 1.25}))
    assert subscription.lost(1001) == 1.25
    # It held for that time only.
    assert 0 <= subscription.lost(1006) <= 1.0


def test_waits_grow_with_full_jitter_until_a_hello() -> None:
    subscription = standing()
    waits = [Subscription("s").lost() for _ in range(200)]
    assert max(waits) <= 0.5
    assert min(waits) < 0.1
    assert max(waits) > 0.4
    for _ in range(40):
        assert subscription.lost(1006) <= 20.0
    assert max(subscription.lost(1006) for _ in range(60)) > 5.0
    subscription.opened()
    subscription.received(hello())
    assert subscription.lost(1006) <= 0.5


def test_what_is_no_use_coming_back_for_is_raised() -> None:
    for code, kind in (
        (4400, BadInput),
        (4401, Unauthenticated),
        (4403, Refused),
        (4410, SessionDeleted),
        (1009, Unexpected),
    ):
        with pytest.raises(kind):
            standing().lost(code, "why")
    with pytest.raises(Refused):
        standing().refused(403)
    with pytest.raises(Unexpected, match="404"):
        standing().refused(404)
    assert standing().refused(502) >= 0
    assert standing().refused(429) >= 0


def test_a_refusal_and_what_cannot_be_read_end_the_connection() -> None:
    with pytest.raises(Dropped, match="Redis"):
        standing().received(
            json.dumps({"type": "error", "code": 4009, "status": 503, "detail": "Redis is away"})
        )
    for bad in ("{", '{"type":3}', "[]", frame("job.progress", {"progress": 3})):
        with pytest.raises(Dropped):
            standing().received(bad)


# ---------------------------------------------------------------------- view


def take(view: View, *frames: str) -> None:
    subscription = standing()
    for each in frames:
        event: Event | None = subscription.received(each)
        if event is not None:
            view.take(event)


def test_a_view_is_made_of_events_whatever_their_order() -> None:
    view = View()
    take(view, job("1-1", "pending", 1, task="t", created_at=NOW))
    take(view, job("2-1", "running", 2, worker="w"))
    take(view, frame("job.progress", {"progress": {"percent": 50.0}}, rev=4))
    take(view, frame("job.progress", {"progress": {"percent": 10.0}}, rev=3))
    assert view.jobs["j1"].status == "running"
    assert view.jobs["j1"].worker == "w"
    assert view.jobs["j1"].progress is not None
    assert view.jobs["j1"].progress.percent == 50.0
    take(view, job("3-1", "completed", 5, result={"n": [1]}, worker=None))
    ended = view.jobs["j1"]
    assert ended.result == {"n": [1]}
    assert ended.worker is None
    assert not view.unknown


def test_a_job_that_is_not_held_is_to_be_fetched() -> None:
    view = View()
    take(view, job("2-1", "running", 2))
    assert view.unknown == {"j1"}
    assert view.put(Job(**JOB))
    assert not view.unknown
    newer = Job(**{**JOB, "rev": 7})
    assert view.put(newer)
    assert not view.put(Job(**JOB))
    assert view.jobs["j1"].rev == 7


def test_a_snapshot_replaces_a_view_and_a_resume_adds_to_it() -> None:
    view = View()
    take(view, hello("1-1", JOB))
    take(view, hello("1-1", {**JOB, "id": "j2"}, resumed=True))
    assert set(view.jobs) == {"j1", "j2"}
    take(view, hello("9-1", {**JOB, "id": "j3"}))
    assert set(view.jobs) == {"j3"}


def test_the_tail_of_a_log_is_kept_without_blanks_and_markers() -> None:
    view = View(tail=3)
    texts = ["", "::jobcast progress 1/2 x", *(f"line {n}" for n in range(9))]
    lines = [{"stream": "stdout", "text": text} for text in texts]
    take(view, frame("job.log", {"lines": lines}, line=1))
    assert list(view.tails["j1"]) == ["line 6", "line 7", "line 8"]


def test_messages() -> None:
    view = View()
    take(view, frame("message.user", {"message_id": "m1", "text": "hi", "job_id": None}, id="1-1"))
    assert view.messages["m1"].role == "user"


# ---------------------------------------------------------------- follow_log


def page(first: int, last: int, of: int, more: bool = False) -> LogPage:
    lines = [LogLine(n, "stdout", f"line {n}") for n in range(first, last + 1)]
    return LogPage(lines, of, more)


def numbers(follower: LogFollower) -> list[int]:
    return [line.line for line in follower.lines()]


def logged(line: int, count: int) -> Event:
    lines = [{"text": f"line {line + n}"} for n in range(count)]
    event = standing().received(frame("job.log", {"lines": lines}, line=line))
    assert event is not None
    return event


def test_a_log_is_followed_without_a_gap() -> None:
    follower = LogFollower(Job(**{**JOB, "status": "running", "log_lines": 3}))
    assert follower.step() == WAIT
    follower.event(Hello(session_id="s1", cursor="1-1", resumed=False, jobs=[], messages=[]))
    assert follower.step() == LOOK
    follower.looked(Job(**{**JOB, "status": "running", "log_lines": 4}))
    assert follower.step() == 0
    follower.page(page(1, 2, of=4, more=True))
    assert numbers(follower) == [1, 2]
    assert follower.step() == 2
    follower.page(page(3, 4, of=4))
    assert (numbers(follower), follower.step()) == ([3, 4], WAIT)
    follower.event(logged(4, 3))
    assert (numbers(follower), follower.step()) == ([5, 6], WAIT)
    follower.event(logged(9, 1))
    assert (numbers(follower), follower.step()) == ([], 6)
    follower.page(page(7, 9, of=9))
    assert (numbers(follower), follower.step()) == ([7, 8, 9], WAIT)
    follower.event(LogGap(session_id="s1", job_id="j1", first=10, last=12))
    assert follower.step() == 9
    follower.page(page(10, 12, of=12))
    ended = standing().received(job("5-5", "completed", 9, log_lines=13))
    assert ended is not None
    follower.event(ended)
    assert (numbers(follower), follower.step()) == ([10, 11, 12], 12)
    follower.page(page(13, 13, of=13))
    assert (numbers(follower), follower.step()) == ([13], None)


def test_lines_that_are_no_longer_kept_are_left_out() -> None:
    follower = LogFollower(Job(**{**JOB, "status": "completed", "log_lines": 9}))
    assert follower.step() == 0
    follower.page(LogPage([], 9))
    assert follower.step() == 0, "a line may have come between the lines and their count"
    follower.page(LogPage([], 9))
    assert follower.step() is None


def test_a_job_that_ended_unseen_is_found_out() -> None:
    follower = LogFollower(Job(**{**JOB, "status": "running"}))
    follower.event(Hello(session_id="s1", cursor="1-1", resumed=False, jobs=[], messages=[]))
    follower.looked(Job(**{**JOB, "status": "failed", "rev": 9}))
    assert follower.step() is None
