"""Every call of the HTTP API, described once for all clients.

The docstrings are those of the clients' methods. Beside what they say, any may raise Unreachable,
Unexpected, Unauthenticated, Refused and Busy.
"""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Callable, Collection, Sequence
from typing import Any, Literal, ParamSpec

import msgspec

from hub.announcements import Announcement
from hub.client.call import (
    Pause,
    Request,
    Script,
    backoff,
    call,
    exchange,
    request_json,
    seg,
    target,
)
from hub.client.errors import NotInTime, Unreachable
from hub.client.want import Wanted, wanted
from hub.errors import Busy
from hub.jobs import Job
from hub.overview import QueueList, SessionPage, WorkerList
from hub.pages import JobPage, LogPage, Snapshot
from hub.requests import (
    ForeignEvent,
    ForeignEvents,
    InputRequest,
    MessageRequest,
    TokenRequest,
)
from hub.responses import (
    Answered,
    MessagePage,
    Paused,
    Queued,
    QueuedItem,
    QueuedList,
    Said,
    TaskList,
    Token,
    Told,
)

P = ParamSpec("P")

#: One look at a job waits in the hub for so many seconds at most; the answer may take longer.
WAIT_SECONDS = 50.0
ANSWER_SECONDS = 15.0
#: How often a job that asks a person is looked at, by those who wait for its end, in seconds.
QUESTION_SECONDS = 2.0


# ---------------------------------------------------------------------- jobs


def _enqueues(want: Callable[P, Wanted]) -> Callable[P, Script[Queued]]:
    def enqueue(*args: P.args, **kwargs: P.kwargs) -> Script[Queued]:
        request, key = want(*args, **kwargs)
        headers = {} if key is None else {"Idempotency-Key": key}
        sent = request_json("POST", "/jobs", request, headers)
        return call(sent, Queued, repeatable=key is not None)

    enqueue.__doc__ = want.__doc__
    return enqueue


enqueue = _enqueues(wanted)


def enqueue_many(
    jobs: Sequence[Wanted], *, idempotency_key: str | None = None
) -> Script[list[QueuedItem]]:
    """Queues up to 100 jobs (`wanted`) in one round trip to Redis, each by itself: in its place in
    the list stands the job, or the problem that it has.

    One `idempotency_key` stands for the whole list, whose own keys are not used: the same list
    again finds the same jobs. Without one it is made, so that a call whose answer was lost is
    repeated safely (but with a job of `queue=None`, whose token is told once).

    Raises BadInput for a list that is too long or empty, Busy."""
    once = any(each.request.queue is None for each in jobs)
    if idempotency_key is None and not once:
        idempotency_key = uuid.uuid4().hex
    headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
    sent = request_json("POST", "/jobs", [each.request for each in jobs], headers)
    found = yield from call(sent, QueuedList, repeatable=not once)
    return found.jobs


def job(job_id: str) -> Script[Job]:
    """A job, whole. Raises NotFound."""
    return call(Request("GET", f"/jobs/{seg(job_id)}"), Job)


def jobs(
    *,
    session_id: str | None = None,
    status: Collection[str] = (),
    task: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Script[JobPage]:
    """A page of jobs, newest first; `cursor` is the `more` of the page before. Params, result and
    metadata above 1 KiB are left out of lists. Without `session_id`: for API keys and admins."""
    query = {
        "session_id": session_id,
        "status": ",".join(status) or None,
        "task": task,
        "limit": limit,
        "cursor": cursor,
    }
    return call(Request("GET", target("/jobs", query)), JobPage)


def cancel(job_id: str) -> Script[Job]:
    """Asks for a job's end; again is once. Raises NotFound, Conflict when it had ended."""
    return call(Request("POST", f"/jobs/{seg(job_id)}/cancel"), Job)


def retry(job_id: str) -> Script[Queued]:
    """A new job that does what an ended one did; two retries make one. Raises NotFound, Conflict
    while the job is live, BadInput where its params fit no more."""
    return call(Request("POST", f"/jobs/{seg(job_id)}/retry"), Queued)


def answer(job_id: str, input_id: str, value: Any) -> Script[Answered]:
    """Answers a job's question (`job.input.id`); again is once. Raises NotFound, Conflict when it
    asks another or none, BadInput when the value is none that it takes."""
    body = InputRequest(input_id=input_id, value=value)
    return call(request_json("POST", f"/jobs/{seg(job_id)}/input", body), Answered)


def logs(job_id: str, *, after: int = 0, limit: int = 1_000) -> Script[LogPage]:
    """Lines of a job's log after the line `after`, at most 2,000. Raises NotFound."""
    query = {"after": after, "limit": limit}
    return call(Request("GET", target(f"/jobs/{seg(job_id)}/logs", query)), LogPage)


def tell(job_id: str, token: str, events: Sequence[ForeignEvent] = ()) -> Script[Told]:
    """Tells of a job that somebody else's queue runs; no events are a sign of life. The status
    `cancelling` asks for its end. Raises NotFound, Conflict when the job is over or the token is
    not its own."""
    body = ForeignEvents(token=token, events=list(events))
    # Lines that were told twice would be there twice.
    return call(
        request_json("POST", f"/jobs/{seg(job_id)}/events", body), Told, repeatable=not events
    )


def wait(
    job_id: str,
    *,
    timeout: float | None = None,
    questions: bool = False,
    clock: Callable[[], float] = time.monotonic,
) -> Script[Job]:
    """The job once it has ended, or asks a person; with `questions`, only once it has ended.

    Waits through outages of the hub, once it has answered. Raises NotInTime after `timeout`
    seconds, NotFound."""
    until = math.inf if timeout is None else clock() + timeout
    found = yield from job(job_id)
    failures = 0
    while not (found.terminal or (found.status == "input_required" and not questions)):
        left = until - clock()
        if left <= 0:
            raise NotInTime(f"Job {job_id} is still {found.status} after {timeout:g} s.")
        if found.status == "input_required":
            # The hub answers for such a job at once.
            yield Pause(min(left, QUESTION_SECONDS))
        seconds = min(left, WAIT_SECONDS)
        query = {"wait": f"{seconds:.3f}"}
        look = Request(
            "GET", target(f"/jobs/{seg(job_id)}", query), timeout=seconds + ANSWER_SECONDS
        )
        try:
            found = yield from call(look, Job)
        except (Unreachable, Busy):
            failures += 1
            yield Pause(min(max(0.0, until - clock()), backoff(failures)))
        else:
            failures = 0
    return found


# ------------------------------------------------------------------ sessions


def session(session_id: str) -> Script[Snapshot]:
    """The picture of a session: at most 100 jobs, live ones first, and 200 messages."""
    return call(Request("GET", f"/sessions/{seg(session_id)}"), Snapshot)


def sessions(*, limit: int = 50, cursor: str | None = None) -> Script[SessionPage]:
    """A page of all sessions, the last active first (admin)."""
    return call(
        Request("GET", target("/sessions", {"limit": limit, "cursor": cursor})), SessionPage
    )


def delete_session(session_id: str) -> Script[None]:
    """Cancels a session's jobs and forgets it (admin). Raises NotFound."""
    yield from exchange(Request("DELETE", f"/sessions/{seg(session_id)}"), repeatable=False)


def messages(session_id: str, *, before: str | None = None, limit: int = 50) -> Script[MessagePage]:
    """What was said before a cursor, oldest first; without one, what was said last."""
    path = f"/sessions/{seg(session_id)}/messages"
    return call(Request("GET", target(path, {"before": before, "limit": limit})), MessagePage)


def say(
    session_id: str,
    text: str,
    *,
    message_id: str | None = None,
    role: Literal["user", "agent"] = "user",
    job_id: str | None = None,
) -> Script[Said]:
    """Says something in a session; a repeated `message_id` is one message. The agent's answer
    comes as an event. `role="agent"` and `job_id` are for API keys. Raises BadInput."""
    body = MessageRequest(
        text=text, message_id=message_id or uuid.uuid4().hex, role=role, job_id=job_id
    )
    return call(request_json("POST", f"/sessions/{seg(session_id)}/messages", body), Said)


# ------------------------------------------------------- tasks, tokens, queues


def tasks() -> Script[list[Announcement]]:
    """The tasks that may be queued; `params` is a JSON Schema, as JSON."""
    found = yield from call(Request("GET", "/tasks"), TaskList)
    return found.tasks


def new_token(
    *,
    sub: str | None = None,
    sessions: Sequence[str] | None = None,
    scope: str | None = None,
    ttl: float | None = None,
    code: str | None = None,
) -> Script[Token]:
    """A session token: any with an API key, the same or narrower with a token, or what a sign-in
    `code` is worth. `ttl` is in seconds. Raises BadInput, Refused."""
    body = TokenRequest(
        code=code,
        sub=sub,
        sessions=None if sessions is None else list(sessions),
        scope=scope,
        ttl=ttl,
    )
    return call(request_json("POST", "/tokens", body), Token, repeatable=code is None)


def queues() -> Script[QueueList]:
    """Every queue and what is in it (admin)."""
    return call(Request("GET", "/queues"), QueueList)


def workers() -> Script[WorkerList]:
    """Who works on what (admin)."""
    return call(Request("GET", "/workers"), WorkerList)


def pause(queue: str) -> Script[Paused]:
    """The queue hands out nothing until it is resumed (admin)."""
    return call(Request("POST", f"/queues/{seg(queue)}/pause"), Paused)


def resume(queue: str) -> Script[Paused]:
    """The queue hands out jobs again (admin)."""
    return call(Request("POST", f"/queues/{seg(queue)}/resume"), Paused)


def get(path: str) -> Script[Any]:
    """The JSON that GET answers at a path, such as `/tools?format=mcp`."""
    reply = yield from exchange(Request("GET", path))
    return msgspec.json.decode(reply.body)
