"""Sessions: the picture of one, what is said in it, and its end."""

from __future__ import annotations

import uuid
from typing import Annotated, Final

from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import Response

from hub.actions import visible_job
from hub.api.operation import Operation, answer, caller, no_body, read_body, read_query
from hub.auth import SCOPES, Principal
from hub.decode import decode_query
from hub.errors import BadInput, NotFound, Refused
from hub.fields import WORDS, Cursor, Limit, SessionId
from hub.overview import Overview, SessionPage
from hub.pages import Snapshot
from hub.requests import MessageRequest
from hub.responses import MessagePage, Said
from hub.services import Services, services_of
from hub.store import SNAPSHOT_MESSAGES
from hub.webhooks.store import WebhookStore

#: The agent's own messages are told apart by these, so that a repeated turn speaks once.
_AGENT_IDS: Final = ("re.", "word.")


class _Path(Struct, kw_only=True):
    session_id: SessionId


class MessagesQuery(Struct, kw_only=True, forbid_unknown_fields=True):
    """Messages before a cursor; without it, the newest."""

    before: Cursor | None = None
    limit: Annotated[int, Meta(ge=1, le=SNAPSHOT_MESSAGES)] = 50


class SessionsQuery(Struct, kw_only=True, forbid_unknown_fields=True):
    """Which page of the sessions."""

    limit: Limit = 50
    cursor: Annotated[str, Meta(max_length=200)] | None = None


def session_of(request: Request) -> str:
    """The session id of the request's path. Raises BadInput where it is none."""
    found: str = request.path_params["session_id"]
    return decode_query([("session_id", found)], _Path, WORDS).session_id


async def _snapshot(request: Request) -> Response:
    services, _, session_id = _common(request, "read")
    return answer(await services.store.snapshot(session_id))


def _common(request: Request, scope: str) -> tuple[Services, Principal, str]:
    principal, session_id = caller(request), session_of(request)
    principal.require(scope, session_id)
    return services_of(request), principal, session_id


async def _messages(request: Request) -> Response:
    services, _, session_id = _common(request, "read")
    query: MessagesQuery = read_query(request, MessagesQuery)
    found = await services.store.messages(session_id, query.before, query.limit)
    more = found[0].cursor if len(found) == query.limit else None
    return answer(MessagePage(found, more))


async def _say(request: Request) -> Response:
    services, principal, session_id = _common(request, "input")
    # A message queues a turn of the agent.
    services.enqueue_limit.require(principal.credential, "messages and jobs")
    said: MessageRequest = await read_body(request, MessageRequest)
    if not principal.is_key and (said.role == "agent" or said.job_id is not None):
        raise Refused("The role agent and job_id are for API keys.")
    errors: list[tuple[str, str]] = []
    if not said.text.strip():
        errors.append(("/text", "must not be blank"))
    if said.role == "user" and (said.message_id or "").startswith(_AGENT_IDS):
        errors.append(("/message_id", "must not start with re. or word., which are the agent's"))
    if said.job_id is not None:
        errors += await _check_job(services, principal, session_id, said.job_id)
    if errors:
        raise BadInput(errors)
    message_id = said.message_id or str(uuid.uuid4())
    await services.store.say(
        session_id,
        said.role,
        message_id,
        said.text,
        job_id=said.job_id,
        turn=said.role == "user" and services.settings.agent,
        may=[scope for scope in SCOPES if principal.has(scope)],
    )
    return answer(Said(message_id), 202)


async def _check_job(
    services: Services, principal: Principal, session_id: str, job_id: str
) -> list[tuple[str, str]]:
    try:
        job = await visible_job(services.store, principal, job_id)
    except NotFound:
        job = None
    if job is None or job.session_id != session_id:
        return [("/job_id", "must be a job of this session")]
    return []


async def _list(request: Request) -> Response:
    services, principal = services_of(request), caller(request)
    principal.require("admin")
    query: SessionsQuery = read_query(request, SessionsQuery)
    return answer(await Overview(services.redis).sessions(query.limit, query.cursor))


async def _delete(request: Request) -> Response:
    services, _, session_id = _common(request, "admin")
    await no_body(request)
    # First: whoever uses the id next must not be overheard by the webhooks of this session.
    webhooks = await WebhookStore(services.redis, services.scripts).forget_session(session_id)
    if not await services.store.forget(session_id) and not webhooks:
        raise NotFound(f"There is no session {session_id}.")
    return Response(status_code=204)


_ONE: Final = {"session_id": SessionId}

OPERATIONS: Final = (
    Operation(
        method="GET",
        path="/sessions",
        endpoint=_list,
        name="listSessions",
        tag="sessions",
        summary="All sessions, the last active first (admin).",
        query=SessionsQuery,
        answers={200: SessionPage},
        errors=(422,),
    ),
    Operation(
        method="GET",
        path="/sessions/{session_id}",
        endpoint=_snapshot,
        name="getSession",
        tag="sessions",
        summary="The picture of a session: at most 100 jobs, live ones first, and 200 messages.",
        path_types=_ONE,
        answers={200: Snapshot},
        errors=(422,),
    ),
    Operation(
        method="DELETE",
        path="/sessions/{session_id}",
        endpoint=_delete,
        name="deleteSession",
        tag="sessions",
        summary="Cancels a session's jobs and forgets it; its sockets close with 4410 (admin).",
        path_types=_ONE,
        answers={204: None},
        errors=(400, 404, 413, 415, 422),
    ),
    Operation(
        method="GET",
        path="/sessions/{session_id}/messages",
        endpoint=_messages,
        name="listMessages",
        tag="sessions",
        summary="What was said in a session.",
        query=MessagesQuery,
        path_types=_ONE,
        answers={200: MessagePage},
        errors=(422,),
    ),
    Operation(
        method="POST",
        path="/sessions/{session_id}/messages",
        endpoint=_say,
        name="say",
        tag="sessions",
        summary="The person speaks; the agent's answer comes as an event. Again is once.",
        body=MessageRequest,
        path_types=_ONE,
        answers={202: Said},
        errors=(400, 413, 415, 422),
    ),
)
