"""Events of jobs that somebody else's queue runs (`"queue": null`)."""

from __future__ import annotations

import asyncio
from typing import Any, Final
from weakref import WeakValueDictionary

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from hub.actions import visible_job
from hub.api.operation import Operation, answer, caller, read_body
from hub.errors import BadInput, Conflict, StaleToken
from hub.fields import JobId
from hub.jobs import Progress
from hub.queueing import STALL_DEADLINE
from hub.requests import (
    ForeignCancelled,
    ForeignCompleted,
    ForeignEvent,
    ForeignEvents,
    ForeignFailed,
    ForeignLog,
    ForeignProgress,
)
from hub.responses import Told
from hub.services import Services, services_of
from hub.states import TERMINAL

_ENDINGS: Final = {
    ForeignCompleted: "completed",
    ForeignFailed: "failed",
    ForeignCancelled: "cancelled",
}


class _Locks:
    """One lock a job: the hub numbers log lines, and two calls at once must not get the same."""

    def __init__(self) -> None:
        self._held: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def of(self, job_id: str) -> asyncio.Lock:
        """The lock of a job, as long as anybody holds or awaits it."""
        lock = self._held.get(job_id)
        if lock is None:
            lock = self._held[job_id] = asyncio.Lock()
        return lock


_locks = _Locks()


async def _tell(request: Request) -> Response:
    services, principal = services_of(request), caller(request)
    told: ForeignEvents = await read_body(request, ForeignEvents)
    job_id: str = request.path_params["job_id"]
    await visible_job(services.store, principal, job_id, "enqueue")
    _check_order(told.events)
    async with _locks.of(job_id):
        return answer(Told(await _apply(services, job_id, told)))


def _check_order(events: list[ForeignEvent]) -> None:
    for index, event in enumerate(events[:-1]):
        if type(event) in _ENDINGS:
            raise BadInput([(f"/events/{index}", "ends the job, so it must be the last")])


async def _apply(services: Services, job_id: str, told: ForeignEvents) -> str:
    names = ("status", "foreign", "token", "last_token", "log_lines")
    status, foreign, token, last, lines = await services.store.job_fields(job_id, *names)
    if not foreign:
        raise Conflict("The job is run by Jobcast's own workers.")
    if status in TERMINAL:
        ending = _ENDINGS.get(type(told.events[-1])) if told.events else None
        if last == told.token and ending == status:
            return str(status)  # the answer of this very call was lost
        raise Conflict(f"The job has {status} already.")
    if token != told.token:
        raise StaleToken("The token is not this job's.")
    [held] = await services.transitions.heartbeat("", STALL_DEADLINE, [(job_id, told.token)])
    if held == "lost":
        raise StaleToken("The job is over.")
    now, line = held, int(lines or 0)
    for event in told.events:
        if isinstance(event, ForeignLog):
            packed = _lines(event, services.settings.log_line_bytes)
            now = await services.transitions.log(job_id, told.token, line + 1, packed)
            line += len(packed)
        elif isinstance(event, ForeignProgress):
            progress = msgspec.json.encode(_progress(event))
            now = await services.transitions.progress(job_id, told.token, progress)
        else:
            now = await _end(services, job_id, told.token, event)
    return now


def _progress(event: ForeignProgress) -> Progress:
    return Progress(event.percent, event.current, event.total, event.message)


def _lines(event: ForeignLog, most: int) -> list[bytes]:
    """The lines as the log keeps them: one line each, and none longer than a line may be."""
    return [
        msgspec.json.encode({"stream": line.stream, "text": _cut(text, most)})
        for line in event.lines
        for text in line.text.splitlines() or [""]
    ]


def _cut(text: str, most: int) -> str:
    raw = text.encode()
    return text if len(raw) <= most else raw[: most - 3].decode(errors="ignore") + "…"


async def _end(services: Services, job_id: str, token: str, event: Any) -> str:
    finish = services.transitions.finish
    if isinstance(event, ForeignCompleted):
        # Events are single lines, so the spaces between a result's parts are left out.
        result = msgspec.json.format(bytes(event.result), indent=-1)
        return await finish(job_id, token, "completed", result)
    if isinstance(event, ForeignFailed):
        error = {"code": event.error.code, "message": event.error.message}
        if event.error.type is not None:
            error["type"] = event.error.type
        trace = event.error.traceback
        return await finish(
            job_id,
            token,
            "failed",
            msgspec.json.encode(error),
            b"" if trace is None else msgspec.json.encode(trace),
        )
    # Given up though nobody asked: a cancel, and its confirmation.
    await services.transitions.cancel(job_id)
    return await finish(job_id, token, "cancelled")


OPERATIONS: Final = (
    Operation(
        method="POST",
        path="/jobs/{job_id}/events",
        endpoint=_tell,
        name="tellOfJob",
        tag="jobs",
        summary="What somebody else's queue tells of a job that was created with queue: null.",
        body=ForeignEvents,
        path_types={"job_id": JobId},
        answers={200: Told},
        errors=(400, 404, 409, 413, 415, 422),
    ),
)
