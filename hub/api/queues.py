"""Queues and workers, for operators."""

from __future__ import annotations

from typing import Final

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from hub.api.operation import Endpoint, Operation, answer, caller, no_body
from hub.decode import decode_query
from hub.fields import WORDS, QueueName
from hub.overview import Overview, QueueList, WorkerList
from hub.responses import Paused
from hub.scheduler import ScheduleList
from hub.services import services_of


class _Path(Struct, kw_only=True):
    queue: QueueName


async def _queues(request: Request) -> Response:
    caller(request).require("admin")
    return answer(await Overview(services_of(request).redis).queues())


async def _workers(request: Request) -> Response:
    caller(request).require("admin")
    return answer(await Overview(services_of(request).redis).workers())


async def _schedules(request: Request) -> Response:
    caller(request).require("admin")
    return answer(await services_of(request).scheduler.listed())


def _pauses(paused: bool) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        caller(request).require("admin")
        await no_body(request)
        found = [("queue", request.path_params["queue"])]
        queue = decode_query(found, _Path, WORDS).queue
        await services_of(request).transitions.pause(queue, paused)
        return answer(Paused(queue, paused))

    return endpoint


OPERATIONS: Final = (
    Operation(
        method="GET",
        path="/queues",
        endpoint=_queues,
        name="listQueues",
        tag="operators",
        summary="Every queue: its depth, the age of its oldest job, and what runs (admin).",
        answers={200: QueueList},
    ),
    Operation(
        method="GET",
        path="/workers",
        endpoint=_workers,
        name="listWorkers",
        tag="operators",
        summary="Who works on what (admin).",
        answers={200: WorkerList},
    ),
    Operation(
        method="GET",
        path="/schedules",
        endpoint=_schedules,
        name="listSchedules",
        tag="operators",
        summary="Every cron schedule and when it fires next (admin).",
        answers={200: ScheduleList},
    ),
    *(
        Operation(
            method="POST",
            path=f"/queues/{{queue}}/{word}",
            endpoint=_pauses(word == "pause"),
            name=f"{word}Queue",
            tag="operators",
            summary=summary,
            path_types={"queue": QueueName},
            answers={200: Paused},
            errors=(400, 413, 415, 422),
        )
        for word, summary in (
            ("pause", "The queue hands out nothing until it is resumed (admin)."),
            ("resume", "The queue hands out jobs again (admin)."),
        )
    ),
)
