"""The HTTP API: one file per resource, each with the operations that it answers."""

from typing import Final

from hub.api import (
    dead,
    deliveries,
    foreign,
    health,
    jobs,
    logs,
    metrics,
    queues,
    sessions,
    streams,
    tasks,
    tokens,
    tools,
    webhooks,
)
from hub.api.operation import Operation

OPERATIONS: Final[tuple[Operation, ...]] = (
    *jobs.OPERATIONS,
    *logs.OPERATIONS,
    *foreign.OPERATIONS,
    *sessions.OPERATIONS,
    *tasks.OPERATIONS,
    *streams.OPERATIONS,
    *tokens.OPERATIONS,
    *webhooks.OPERATIONS,
    *deliveries.OPERATIONS,
    *queues.OPERATIONS,
    *dead.OPERATIONS,
    *tools.OPERATIONS,
    *health.OPERATIONS,
    *metrics.OPERATIONS,
)
