"""Webhooks: register, list, look, change, rotate, delete; and the secret of one-offs."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import Response

from hub.api.operation import Operation, answer, caller, read_body, read_query, seen_at
from hub.fields import Limit, SessionId
from hub.services import services_of
from hub.webhooks.registry import Registry
from hub.webhooks.shapes import (
    OwnedWebhook,
    RotateRequest,
    Secret,
    WebhookChanges,
    WebhookPage,
    WebhookRequest,
)
from hub.webhooks.store import WebhookStore

WebhookId = Annotated[
    str, Meta(description="The id of a webhook.", examples=["wh_0f3c5a7e9b1d2f4a6c8e0b2d4f6a8c0e"])
]


class WebhooksQuery(Struct, kw_only=True, forbid_unknown_fields=True):
    """Which webhooks: those of a session, or all that the caller may see; those that are disabled,
    or those that are not."""

    session_id: SessionId | None = None
    disabled: bool | None = None
    limit: Limit = 50
    cursor: Annotated[str, Meta(max_length=200)] | None = None


def registry_of(request: Request) -> Registry:
    """The webhooks of the app that serves this request."""
    services = services_of(request)
    return Registry(WebhookStore(services.redis, services.scripts), services.settings)


async def _create(request: Request) -> Response:
    principal = caller(request)
    wanted: WebhookRequest = await read_body(request, WebhookRequest)
    webhook = await registry_of(request).register(principal, wanted)
    return answer(webhook, 201, {"Location": seen_at(request, f"/webhooks/{webhook.id}")})


async def _list(request: Request) -> Response:
    principal = caller(request)
    query: WebhooksQuery = read_query(request, WebhooksQuery)
    page = await registry_of(request).page(
        principal,
        session_id=query.session_id,
        disabled=query.disabled,
        limit=query.limit,
        cursor=query.cursor,
    )
    return answer(page)


async def _get(request: Request) -> Response:
    principal = caller(request)
    return answer(await registry_of(request).get(principal, request.path_params["webhook_id"]))


async def _edit(request: Request) -> Response:
    principal = caller(request)
    changes: WebhookChanges = await read_body(request, WebhookChanges)
    webhook_id = request.path_params["webhook_id"]
    return answer(await registry_of(request).edit(principal, webhook_id, changes))


async def _rotate(request: Request) -> Response:
    principal = caller(request)
    asked: RotateRequest = await read_body(request, RotateRequest, optional=True)
    webhook_id = request.path_params["webhook_id"]
    return answer(await registry_of(request).rotate(principal, webhook_id, asked.overlap))


async def _delete(request: Request) -> Response:
    principal = caller(request)
    await registry_of(request).delete(principal, request.path_params["webhook_id"])
    return Response(status_code=204)


async def _secret(request: Request) -> Response:
    return answer(registry_of(request).secret(caller(request)))


ONE_WEBHOOK: Final = {"webhook_id": WebhookId}

OPERATIONS: Final = (
    Operation(
        method="POST",
        path="/webhooks",
        endpoint=_create,
        name="createWebhook",
        tag="webhooks",
        summary="Registers a webhook of a session (scope admin) or of all (API keys).",
        body=WebhookRequest,
        answers={201: OwnedWebhook},
        errors=(400, 409, 413, 415, 422),
    ),
    Operation(
        method="GET",
        path="/webhooks",
        endpoint=_list,
        name="listWebhooks",
        tag="webhooks",
        summary="Webhooks, newest first, without their secrets.",
        query=WebhooksQuery,
        answers={200: WebhookPage},
        errors=(422,),
    ),
    # Stands before /webhooks/{webhook_id}, which would take it for an id.
    Operation(
        method="GET",
        path="/webhooks/secret",
        endpoint=_secret,
        name="getOneOffSecret",
        tag="webhooks",
        summary="The secret that signs the webhook_url of jobs that this API key queued.",
        answers={200: Secret},
    ),
    Operation(
        method="GET",
        path="/webhooks/{webhook_id}",
        endpoint=_get,
        name="getWebhook",
        tag="webhooks",
        summary="A webhook; with its secret for the credential that registered it.",
        path_types=ONE_WEBHOOK,
        answers={200: OwnedWebhook},
        errors=(404,),
    ),
    Operation(
        method="PATCH",
        path="/webhooks/{webhook_id}",
        endpoint=_edit,
        name="editWebhook",
        tag="webhooks",
        summary="Changes a webhook's address, types or description; stops it or starts it again.",
        path_types=ONE_WEBHOOK,
        body=WebhookChanges,
        answers={200: OwnedWebhook},
        errors=(400, 404, 413, 415, 422),
    ),
    Operation(
        method="POST",
        path="/webhooks/{webhook_id}/rotate",
        endpoint=_rotate,
        name="rotateWebhookSecret",
        tag="webhooks",
        summary="Another secret; the one before signs beside it for a day, unless said.",
        path_types=ONE_WEBHOOK,
        body=RotateRequest,
        body_optional=True,
        answers={200: OwnedWebhook},
        errors=(400, 404, 409, 413, 415, 422),
    ),
    Operation(
        method="DELETE",
        path="/webhooks/{webhook_id}",
        endpoint=_delete,
        name="deleteWebhook",
        tag="webhooks",
        summary="Forgets a webhook and what waits for it.",
        path_types=ONE_WEBHOOK,
        answers={204: None},
        errors=(404,),
    ),
)
