"""Calls without their I/O: what is sent, how often, and what an answer means."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from hub.client import Client, Jobs, NotInTime, SyncClient, Unexpected, Unreachable, calls
from hub.client.address import address_of
from hub.client.call import TRIES, Again, Pause, Renew, Reply, Request, Script
from hub.client.errors import error_of, error_of_close
from hub.client.methods import Methods
from hub.errors import (
    BadInput,
    Busy,
    Conflict,
    JobcastError,
    NotFound,
    Refused,
    SettingsError,
    TooMany,
    Unauthenticated,
)

JSON = {"content-type": "application/json"}
PROBLEM = {"content-type": "application/problem+json"}
JOB: dict[str, Any] = {
    "id": "01991f7c-2b6a-7c3d-8e4f-0123456789ab",
    "session_id": "s1",
    "task": "t",
    "status": "pending",
    "rev": 1,
    "created_at": "2026-11-23T19:20:31.042Z",
    "updated_at": "2026-11-23T19:20:31.042Z",
}


def reply(status: int, body: Any, **headers: str) -> Reply:
    kind = JSON if status < 300 else PROBLEM
    return Reply(status, {**kind, **headers}, msgspec.json.encode(body))


def problem(status: int, detail: str = "why", **more: Any) -> Reply:
    return reply(
        status, {"type": "about:blank", "title": "t", "status": status, "detail": detail, **more}
    )


class Play:
    """Takes a script's steps as a driver would, with the answers given."""

    def __init__(self, script: Script[Any], *answers: Reply | Exception | bool) -> None:
        self.requests: list[Request] = []
        self.pauses: list[float] = []
        self.renewals = 0
        self.result: Any = None
        left = list(answers)
        try:
            step = next(script)
            while True:
                if isinstance(step, Pause):
                    self.pauses.append(step.seconds)
                    step = script.send(None)
                    continue
                if isinstance(step, Again):
                    self.pauses.append(step.seconds)
                    over = step.failures >= TRIES
                    step = script.throw(step.error) if over else script.send(None)
                    continue
                answer = left.pop(0)
                if isinstance(step, Renew):
                    self.renewals += 1
                    assert isinstance(answer, bool)
                    step = script.send(answer)
                    continue
                self.requests.append(step)
                if isinstance(answer, Exception):
                    step = script.throw(answer)
                else:
                    step = script.send(answer)
        except StopIteration as done:
            self.result = done.value
        assert not left, "it asked for less"


def test_a_job_is_decoded_as_the_hubs_struct() -> None:
    play = Play(calls.job(JOB["id"]), reply(200, {**JOB, "params": {"a": [1]}}))
    assert play.requests[0].target == f"/jobs/{JOB['id']}"
    assert play.result.params == {"a": [1]}
    assert play.result.status == "pending"


def test_what_stands_in_paths_and_queries_is_escaped() -> None:
    page = reply(200, {"messages": []})
    assert Play(calls.messages("a/b?c", before="1-2"), page).requests[0].target == (
        "/sessions/a%2Fb%3Fc/messages?before=1-2&limit=50"
    )
    some = calls.jobs(status=["failed", "cancelled"], session_id="s1")
    target = Play(some, reply(200, {"jobs": []})).requests[0].target
    assert target == "/jobs?session_id=s1&status=failed%2Ccancelled&limit=50"


def test_queueing_is_repeated_with_the_same_key() -> None:
    queued = reply(202, {"job_id": JOB["id"], "status": "pending", "job": JOB})
    play = Play(
        calls.enqueue("t", {"n": 1}, session_id="s1", priority=2),
        Unreachable("cut"),
        problem(503, errors=[]),
        queued,
    )
    keys = {request.headers["Idempotency-Key"] for request in play.requests}
    assert len(play.requests) == 3
    assert len(keys) == 1
    body = msgspec.json.decode(play.requests[0].body or b"")
    assert body["params"] == {"n": 1}
    assert body["priority"] == 2
    assert "queue" not in body
    assert "metadata" not in body
    assert len(play.pauses) == 2


def test_a_foreign_job_is_not_queued_twice() -> None:
    script = calls.enqueue("t", session_id="s1", queue=None)
    with pytest.raises(Unreachable, match="cut"):
        Play(script, Unreachable("cut", sent=True))
    queued = reply(202, {"job_id": "1", "status": "running", "job": JOB, "token": "x"})
    again = Play(
        calls.enqueue("t", session_id="s1", queue=None), Unreachable("refused", sent=False), queued
    )
    assert "Idempotency-Key" not in again.requests[1].headers
    assert again.result.token == "x"


def test_it_gives_up_after_some_tries() -> None:
    with pytest.raises(Unreachable, match="last"):
        Play(calls.tasks(), *[Unreachable("cut")] * (TRIES - 1), Unreachable("last"))


def test_a_hub_that_is_busy_for_long_is_told_of_at_once() -> None:
    with pytest.raises(TooMany) as told:
        Play(calls.tasks(), problem(429)._replace(headers={**PROBLEM, "retry-after": "60"}))
    assert told.value.retry_after == 60


def test_a_refused_credential_is_renewed_once() -> None:
    tasks = reply(200, {"tasks": []})
    assert Play(calls.tasks(), problem(401), True, tasks).renewals == 1
    with pytest.raises(Unauthenticated):
        Play(calls.tasks(), problem(401), False)
    with pytest.raises(Unauthenticated):
        Play(calls.tasks(), problem(401), True, problem(401))


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, BadInput),
        (401, Unauthenticated),
        (403, Refused),
        (404, NotFound),
        (409, Conflict),
        (413, BadInput),
        (422, BadInput),
        (429, TooMany),
        (500, Unexpected),
        (503, Busy),
    ],
)
def test_every_status_has_its_error(status: int, kind: type[JobcastError]) -> None:
    assert type(error_of(*problem(status))) is kind
    assert "why" in str(error_of(*problem(status)))


def test_every_wrong_field_is_told() -> None:
    errors = [{"pointer": "/task", "detail": "is none"}, {"pointer": "", "detail": "too much"}]
    found = error_of(*problem(422, errors=errors))
    assert isinstance(found, BadInput)
    assert found.errors == [("/task", "is none"), ("", "too much")]


def test_an_answer_that_is_no_hubs_says_so() -> None:
    page = Reply(404, {"content-type": "text/html"}, b"<h1>nginx</h1>")
    found = error_of(*page)
    assert isinstance(found, Unexpected)
    assert "check the URL" in str(found)
    with pytest.raises(Unexpected, match="cannot be read"):
        Play(calls.tasks(), Reply(200, {"content-type": "text/html"}, b"<h1>hi</h1>"))
    assert isinstance(error_of(500, PROBLEM, b"{"), Unexpected)


def test_waiting_goes_on_through_outages_until_the_end() -> None:
    clock = iter(range(1000))
    script = calls.wait("j", clock=lambda: float(next(clock)))
    done = reply(200, {**JOB, "status": "completed", "result": 7})
    cuts = [Unreachable("cut")] * (2 * TRIES)
    play = Play(script, reply(200, JOB), *cuts, reply(200, JOB), done)
    assert play.result.result == 7
    assert play.requests[0].target == "/jobs/j"
    assert play.requests[1].target == "/jobs/j?wait=50.000"
    assert play.requests[1].timeout > 50


def test_waiting_ends_with_its_time_or_a_question() -> None:
    clock = iter([0.0, 1.0, 1.0, 5.0, 11.0])
    script = calls.wait("j", timeout=10, clock=lambda: next(clock))
    with pytest.raises(NotInTime, match="still pending"):
        Play(script, reply(200, JOB), reply(200, JOB), reply(200, JOB), reply(200, JOB))
    asks = reply(200, {**JOB, "status": "input_required"})
    assert Play(calls.wait("j"), asks).result.status == "input_required"
    done = reply(200, {**JOB, "status": "cancelled"})
    through = Play(calls.wait("j", questions=True), asks, asks, done)
    assert through.result.status == "cancelled"
    assert through.pauses == [2.0, 2.0], "the hub answers at once, so that it is not asked at once"


def test_close_codes_have_their_errors() -> None:
    for code, kind in (
        (4400, BadInput),
        (4401, Unauthenticated),
        (4403, Refused),
        (4410, NotFound),
    ):
        assert isinstance(error_of_close(code, "why"), kind)
    for code in (1000, 1001, 1006, 1011, 4008, 4009, 4010, 4099):
        assert error_of_close(code, "") is None


def test_addresses() -> None:
    assert address_of("https://h.example/jobs/")[:2] == (
        "https://h.example/jobs",
        "wss://h.example/jobs",
    )
    assert address_of("127.0.0.1:8080").ws == "ws://127.0.0.1:8080"
    assert address_of("http://[::1]:1").http == "http://[::1]:1"
    for bad in ("ftp://x", "http://u:p@h", "http://h?x", "http://", "http://h:port"):
        with pytest.raises(SettingsError):
            address_of(bad)


def test_proxies_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "proxy.example:3128")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert address_of("http://h.example").proxy == "http://proxy.example:3128"
    assert address_of("http://127.0.0.1:8080").proxy is None


def test_the_twins_have_the_same_methods() -> None:
    def methods(kind: type) -> set[str]:
        return {name for name in dir(kind) if not name.startswith("_")}

    assert methods(Client) - {"aclose"} == methods(SyncClient) - {"close"}
    described = {
        name
        for name, value in vars(calls).items()
        if callable(value)
        and getattr(value, "__module__", "") == calls.__name__
        and not name.startswith("_")
    }
    assert described <= methods(Client)
    of_hubs = {"tell", "say", "messages", "sessions", "delete_session", "new_token", "get"}
    of_hubs |= {"queues", "workers", "pause", "resume"}
    assert {name for name in vars(Methods) if not name.startswith("_")} - of_hubs <= methods(Jobs)
    assert all((getattr(Client, name).__doc__ or "").strip() for name in methods(Client))
