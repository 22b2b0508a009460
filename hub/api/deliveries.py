"""Deliveries of webhooks: tested, listed, shown, sent again."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from hub.actions import visible_job
from hub.api.operation import Operation, answer, caller, no_body, read_body, read_query, seen_at
from hub.api.webhooks import ONE_WEBHOOK, registry_of
from hub.auth import Principal
from hub.fields import JobId
from hub.services import services_of
from hub.webhooks.desk import DeliveryDesk
from hub.webhooks.history import History
from hub.webhooks.shapes import (
    DeliveriesQuery,
    DeliveryPage,
    ExampleRequest,
    Replayed,
    ReplayRequest,
    WaitQuery,
    WholeDelivery,
)

DeliveryId = Annotated[
    str,
    Meta(
        description="The id of a delivery: its `webhook-id`.",
        examples=["msg_2f4a6c8e0b2d4f6a8c0e1a3c5e7f9b1d3f5a7c9e"],
    ),
]


def _desk(request: Request) -> DeliveryDesk:
    services = services_of(request)
    return DeliveryDesk(History(services.redis, services.scripts), registry_of(request))


async def _list(request: Request) -> Response:
    principal = caller(request)
    query: DeliveriesQuery = read_query(request, DeliveriesQuery)
    page = await _desk(request).page(
        principal,
        request.path_params["webhook_id"],
        status=query.status,
        job_id=query.job_id,
        limit=query.limit,
        cursor=query.cursor,
    )
    return answer(page)


async def _of_job(request: Request) -> Response:
    principal = caller(request)
    store = services_of(request).store
    job = await visible_job(store, principal, request.path_params["job_id"], "admin")
    return answer(await _desk(request).of_job(principal, job))


async def _get(request: Request) -> Response:
    principal = caller(request)
    return answer(await _desk(request).get(principal, request.path_params["delivery_id"]))


async def _test(request: Request) -> Response:
    principal = caller(request)
    query: WaitQuery = read_query(request, WaitQuery)
    asked: ExampleRequest = await read_body(request, ExampleRequest, optional=True)
    sent = await _desk(request).test(principal, request.path_params["webhook_id"], asked.type)
    return await _sent(request, principal, sent, query.wait)


async def _replay(request: Request) -> Response:
    principal = caller(request)
    query: WaitQuery = read_query(request, WaitQuery)
    await no_body(request)
    sent = await _desk(request).replay(principal, request.path_params["delivery_id"])
    return await _sent(request, principal, sent, query.wait)


async def _sent(
    request: Request, principal: Principal, sent: WholeDelivery, wait: float
) -> Response:
    if wait:
        over = services_of(request).draining
        sent = await _desk(request).tried(principal, sent.id, wait, over)
    location = seen_at(request, f"/deliveries/{sent.id}")
    return answer(sent, 202, {"Location": location})


async def _replay_failed(request: Request) -> Response:
    principal = caller(request)
    asked: ReplayRequest = await read_body(request, ReplayRequest)
    webhook_id = request.path_params["webhook_id"]
    done = await _desk(request).replay_failed(principal, webhook_id, asked.since, asked.until)
    return answer(done, 202)


_ONE: Final = {"delivery_id": DeliveryId}

OPERATIONS: Final = (
    Operation(
        method="POST",
        path="/webhooks/{webhook_id}/test",
        endpoint=_test,
        name="testWebhook",
        tag="webhooks",
        summary="Sends a test, once, as every event is sent; with wait, tells what came of it.",
        path_types=ONE_WEBHOOK,
        query=WaitQuery,
        body=ExampleRequest,
        body_optional=True,
        answers={202: WholeDelivery},
        errors=(400, 404, 409, 413, 415, 422),
    ),
    Operation(
        method="GET",
        path="/webhooks/{webhook_id}/deliveries",
        endpoint=_list,
        name="listDeliveries",
        tag="webhooks",
        summary="A webhook's deliveries, the newest event first.",
        path_types=ONE_WEBHOOK,
        query=DeliveriesQuery,
        answers={200: DeliveryPage},
        errors=(404, 422),
    ),
    Operation(
        method="POST",
        path="/webhooks/{webhook_id}/replay",
        endpoint=_replay_failed,
        name="replayFailedDeliveries",
        tag="webhooks",
        summary="Sends again, at once, all that failed of the events of a time.",
        path_types=ONE_WEBHOOK,
        body=ReplayRequest,
        answers={202: Replayed},
        errors=(400, 404, 409, 413, 415, 422),
    ),
    Operation(
        method="GET",
        path="/deliveries/{delivery_id}",
        endpoint=_get,
        name="getDelivery",
        tag="webhooks",
        summary="A delivery with its last tries, what was answered, and its body.",
        path_types=_ONE,
        answers={200: WholeDelivery},
        errors=(404,),
    ),
    Operation(
        method="POST",
        path="/deliveries/{delivery_id}/replay",
        endpoint=_replay,
        name="replayDelivery",
        tag="webhooks",
        summary="Sends a delivery again, by the whole schedule; one that waits, now.",
        path_types=_ONE,
        query=WaitQuery,
        answers={202: WholeDelivery},
        errors=(400, 404, 409, 413, 415, 422),
    ),
    Operation(
        method="GET",
        path="/jobs/{job_id}/deliveries",
        endpoint=_of_job,
        name="listJobDeliveries",
        tag="webhooks",
        summary="What webhooks were told of a job, its webhook_url too, oldest first (admin).",
        path_types={"job_id": JobId},
        answers={200: DeliveryPage},
        errors=(404,),
    ),
)
