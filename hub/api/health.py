"""Whether the hub lives, and whether it is of use."""

from __future__ import annotations

from typing import Final

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from hub.api.operation import Operation, answer
from hub.errors import Busy
from hub.services import services_of


class Health(Struct):
    """All is well."""

    status: str = "ok"


async def _alive(_: Request) -> Response:
    return answer(Health())


async def _ready(request: Request) -> Response:
    services = services_of(request)
    if services.draining.is_set():
        raise Busy("The hub is going away.")
    if not services.fanout.healthy:
        raise Busy("What Redis publishes does not reach the hub.")
    return answer(Health())


OPERATIONS: Final = (
    Operation(
        method="GET",
        path="/healthz",
        endpoint=_alive,
        name="isAlive",
        tag="health",
        summary="The hub lives.",
        answers={200: Health},
        open=True,
    ),
    Operation(
        method="GET",
        path="/readyz",
        endpoint=_ready,
        name="isReady",
        tag="health",
        summary="A probe went through Redis's pub/sub and back a moment ago.",
        answers={200: Health},
        errors=(503,),
        open=True,
    ),
)
