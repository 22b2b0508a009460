"""One-time sign-in codes: what `jobcast dev` puts into its link's fragment.

Redis holds the SHA-256 of a code, never the code.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Any, Final

import msgspec
from msgspec import Struct
from redis.asyncio import Redis

from hub import keys
from hub.auth import DEFAULT_SCOPE, DEFAULT_TTL, check_grant
from hub.errors import Unauthenticated

CODE_TTL: Final = 600
_CODE_BYTES: Final = 18


class Grant(Struct, kw_only=True):
    """What a code is worth: the claims of the token that it is exchanged for; `ttl` in seconds."""

    sub: str
    sessions: list[str]
    scope: str = DEFAULT_SCOPE
    ttl: float = DEFAULT_TTL


async def create_code(redis: Redis, grant: Grant) -> str:
    """A fresh code for `grant`, valid once and for ten minutes. Raises BadInput when no token
    could say what the grant says."""
    check_grant(grant.sub, grant.sessions, grant.scope, grant.ttl)
    code = secrets.token_urlsafe(_CODE_BYTES)
    await redis.set(_key(code), msgspec.json.encode(grant), ex=CODE_TTL)
    return code


async def spend_code(redis: Redis, code: str) -> Grant:
    """What a code is worth; it is worth nothing afterwards. Raises Unauthenticated when it is
    unknown, spent or over."""
    # redis-py types every reply as bytes or str or None; ours are bytes.
    client: Any = redis
    found: bytes | None = await client.getdel(_key(code))
    if found is None:
        raise Unauthenticated("The sign-in code is unknown, used already or older than 10 minutes.")
    return msgspec.json.decode(found, type=Grant)


def _key(code: str) -> str:
    return keys.sign_in_code(hashlib.sha256(code.encode()).hexdigest())
