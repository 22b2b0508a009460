"""Tokens: minted with an API key, renewed with a token, or had for a sign-in code."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from hub.api.operation import Operation, answer, caller, read_body
from hub.auth import DEFAULT_SCOPE, DEFAULT_TTL, Minted, Principal
from hub.errors import BadInput
from hub.jobs import iso
from hub.requests import TokenRequest
from hub.responses import Token
from hub.services import Services, services_of
from hub.sign_in import spend_code


async def _create(request: Request) -> Response:
    services = services_of(request)
    wanted: TokenRequest = await read_body(request, TokenRequest)
    if wanted.code is not None:
        minted = await _exchange(request, services, wanted)
    else:
        minted = _mint(services, caller(request), wanted)
    return answer(
        Token(
            token=minted.token,
            expires_at=iso(minted.expires_at * 1000),
            sub=minted.principal.name,
            sessions=list(minted.principal.sessions),
            scope=minted.scope,
        )
    )


async def _exchange(request: Request, services: Services, wanted: TokenRequest) -> Minted:
    if wanted != TokenRequest(code=wanted.code):
        raise BadInput([("/code", "stands alone: the code says what the token is for")])
    # Codes are long enough not to be guessed; that nobody tries is cheap to see to.
    client = request.client.host if request.client else ""
    services.connect_limit.require(client, "sign-ins")
    grant = await spend_code(services.redis, wanted.code or "")
    return services.auth.mint(grant.sub, grant.sessions, grant.scope, grant.ttl)


def _mint(services: Services, principal: Principal, wanted: TokenRequest) -> Minted:
    if not principal.is_key:
        return services.auth.renew(
            principal,
            sub=wanted.sub,
            sessions=wanted.sessions,
            scope=wanted.scope,
            ttl=wanted.ttl,
        )
    return services.auth.mint(
        principal.name if wanted.sub is None else wanted.sub,
        wanted.sessions or [],
        DEFAULT_SCOPE if wanted.scope is None else wanted.scope,
        DEFAULT_TTL if wanted.ttl is None else wanted.ttl,
    )


OPERATIONS: Final = (
    Operation(
        method="POST",
        path="/tokens",
        endpoint=_create,
        name="createToken",
        tag="tokens",
        summary="A session token: any with an API key, the same or narrower with a live token,"
        " or what a sign-in code is worth.",
        body=TokenRequest,
        answers={200: Token},
        errors=(400, 413, 415, 422, 429),
    ),
)
