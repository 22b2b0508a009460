"""`GET /metrics`, for Prometheus."""

from __future__ import annotations

import asyncio
import hmac
import logging
from typing import Final

from redis.exceptions import RedisError
from starlette.requests import Request
from starlette.responses import Response

from hub.api.operation import Operation, caller
from hub.auth import bearer
from hub.metrics.exposition import expose
from hub.metrics.queues import look
from hub.metrics.sample import Sample, take
from hub.services import Services, services_of

log = logging.getLogger("jobcast.metrics")

#: Seconds that Redis has to answer: what the hub itself counts is shown without it.
PATIENCE: Final = 2.0


async def _metrics(request: Request) -> Response:
    services = services_of(request)
    _admit(request, services.settings.metrics_token)
    sample = services.board.total(take(services))
    sample.add(await _shared(services))
    body, media_type = expose(sample, request.headers.get("accept", ""))
    return Response(body, headers={"Cache-Control": "no-store", "Content-Type": media_type})


def _admit(request: Request, token: str) -> None:
    """Raises Unauthenticated or Refused. The token for metrics opens nothing else."""
    given = bearer(request.headers.get("authorization")) or ""
    if token and hmac.compare_digest(given.encode(), token.encode()):
        return
    caller(request).require("admin")


async def _shared(services: Services) -> Sample:
    try:
        async with asyncio.timeout(PATIENCE):
            return await look(services.redis, services.settings.lease)
    except (RedisError, OSError, TimeoutError) as error:
        log.warning("the metrics are without those of queues: %s", error or "Redis is slow")
        return Sample()


OPERATIONS: Final = (
    Operation(
        method="GET",
        path="/metrics",
        endpoint=_metrics,
        name="getMetrics",
        tag="health",
        summary="Metrics for Prometheus, with an API key, the scope admin or the metrics token.",
        answers={200: "text/plain"},
    ),
)
