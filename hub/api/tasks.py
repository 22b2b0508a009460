"""The tasks that workers announced."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from hub.api.operation import Operation, answer, caller
from hub.responses import TaskList
from hub.services import services_of


async def _tasks(request: Request) -> Response:
    caller(request).require("read")
    return answer(TaskList([*(await services_of(request).enqueuer.announced()).values()]))


OPERATIONS: Final = (
    Operation(
        method="GET",
        path="/tasks",
        endpoint=_tasks,
        name="listTasks",
        tag="jobs",
        summary="The tasks that may be queued, with the JSON Schema of their params.",
        answers={200: TaskList},
    ),
)
