"""Who is calling: API keys and session tokens.

Session tokens are JWTs (RFC 7519) signed with HS256 and the hub's secret. Nothing else is
accepted, whatever a token's header says. API keys are held as SHA-256 digests only.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import jwt

from hub.errors import Refused, Unauthenticated
from hub.hs256 import NotSigned, claims_of
from hub.principal import (
    MAX_SESSIONS,
    MAX_TTL,
    SCOPES,
    Principal,
    check_grant,
    is_pattern,
    ordered,
    within,
)
from hub.settings import Settings

__all__ = [
    "DEFAULT_SCOPE",
    "DEFAULT_TTL",
    "LEEWAY",
    "MAX_SESSIONS",
    "MAX_TTL",
    "RENEWABLE",
    "SCOPES",
    "SUBPROTOCOL",
    "Authenticator",
    "Minted",
    "Principal",
    "bearer",
    "bearer_of_subprotocols",
    "check_grant",
    "is_pattern",
]

DEFAULT_SCOPE: Final = "read cancel enqueue input"
DEFAULT_TTL: Final = 3_600
#: How long after signing in a token may be renewed, in seconds.
RENEWABLE: Final = 12 * 3_600
#: Clocks of hubs may differ by this many seconds.
LEEWAY: Final = 5
MAX_TOKEN_CHARS: Final = 8_192

SUBPROTOCOL: Final = "jobcast.v1"
_BEARER_PROTOCOL: Final = "bearer."
_ALGORITHM: Final = "HS256"


@dataclass(frozen=True, slots=True)
class Minted:
    """A fresh token; `expires_at` is in seconds since the epoch."""

    token: str
    principal: Principal
    scope: str
    expires_at: int


class Expired(Unauthenticated):
    """A token that was good once."""


class Authenticator:
    """Checks credentials and mints tokens. `failures` counts what was refused: `missing`, `bad`
    and `expired`. Raises SettingsError for a bad secret or key list."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        self._secret = settings.checked_secret()
        self._clock = clock
        self._keys = [
            (hashlib.sha256(key.encode()).digest(), name) for name, key in settings.keys().items()
        ]
        self.failures: Counter[str] = Counter()

    def authenticate(self, credential: str | None, *, in_url: bool = False) -> Principal:
        """The principal of an API key or session token. Raises Unauthenticated, saying whether it
        is missing, bad or expired. `in_url` refuses API keys, since URLs end up in logs."""
        try:
            return self._principal_of(credential, in_url=in_url)
        except Unauthenticated as error:
            expired = isinstance(error, Expired)
            self.failures["expired" if expired else "bad" if credential else "missing"] += 1
            raise

    def _principal_of(self, credential: str | None, *, in_url: bool) -> Principal:
        if not credential:
            raise Unauthenticated(
                "A credential is missing: send Authorization: Bearer and a session token or an"
                " API key."
            )
        if len(credential) > MAX_TOKEN_CHARS:
            raise Unauthenticated(f"The token has more than {MAX_TOKEN_CHARS} characters.")
        name = self._key_name(credential)
        if name is None:
            return self._token(credential)
        if in_url:
            raise Unauthenticated("An API key must travel in the Authorization header, not a URL.")
        return Principal("key", name)

    def _key_name(self, credential: str) -> str | None:
        digest = hashlib.sha256(credential.encode("utf-8", "surrogatepass")).digest()
        found = None
        # Every key is compared, so that the time tells nothing about which one fits.
        for known, name in self._keys:
            if hmac.compare_digest(known, digest):
                found = name
        return found

    def _token(self, token: str) -> Principal:
        try:
            claims = claims_of(token, self._secret)
            begins = claims.get("nbf", 0)
            if not isinstance(begins, int | float) or begins > self._clock() + LEEWAY:
                raise NotSigned("its time has not come")
        except NotSigned:
            raise Unauthenticated("The token is not one that this hub has signed.") from None
        for name in ("exp", "sub"):
            if claims.get(name) is None:
                raise Unauthenticated(f"The token lacks the claim {name}.")
        return self._principal(claims)

    def _principal(self, claims: Mapping[str, Any]) -> Principal:
        exp, sub = claims["exp"], claims["sub"]
        if not isinstance(exp, int | float) or isinstance(exp, bool):
            raise Unauthenticated("The token's exp is not a number.")
        # Not left to the library, which truncates the clock: sockets end by this very number.
        if exp + LEEWAY <= self._clock():
            raise Expired("The token has expired.")
        sessions, scope = claims.get("sessions", []), claims.get("scope", "")
        if not isinstance(sub, str) or not sub or not isinstance(scope, str):
            raise Unauthenticated("The token's sub and scope must be strings.")
        if not isinstance(sessions, list) or not all(isinstance(s, str) for s in sessions):
            raise Unauthenticated("The token's sessions must be a list of ids or prefix:*.")
        auth_time = claims.get("auth_time", claims.get("iat"))
        return Principal(
            "token",
            sub,
            tuple([s for s in sessions if is_pattern(s)]),
            scopes_of(scope),
            float(exp),
            float(auth_time) if isinstance(auth_time, int | float) else None,
        )

    def mint(
        self,
        sub: str,
        sessions: Sequence[str],
        scope: str = DEFAULT_SCOPE,
        ttl: float = DEFAULT_TTL,
        *,
        auth_time: float | None = None,
    ) -> Minted:
        """A token for `ttl` seconds; `auth_time` is when its holder signed in (now unless said).

        Raises BadInput naming /sub, /sessions/…, /scope or /ttl."""
        check_grant(sub, sessions, scope, ttl)
        now = self._clock()
        signed_in = now if auth_time is None else auth_time
        expires_at = int(now + ttl)
        claims = {
            "sub": sub,
            "sessions": list(sessions),
            "scope": scope,
            "iat": int(now),
            "auth_time": int(signed_in),
            "exp": expires_at,
        }
        token = jwt.encode(claims, self._secret, algorithm=_ALGORITHM)
        return Minted(token, self._principal(claims), scope, expires_at)

    def renew(
        self,
        principal: Principal,
        *,
        sub: str | None = None,
        sessions: Sequence[str] | None = None,
        scope: str | None = None,
        ttl: float | None = None,
    ) -> Minted:
        """A fresh token for a live one's holder: the same, or narrower where something is said.

        It ends 12 h after its holder signed in at the latest. Raises Refused past that, or when
        more is asked for than the token holds, BadInput as `mint`."""
        if principal.auth_time is None:
            raise Refused("The token does not say when its holder signed in (auth_time).")
        left = principal.auth_time + RENEWABLE - self._clock()
        if left < 1:
            raise Refused("The token cannot be renewed any more: sign in again.")
        wanted = list(principal.sessions if sessions is None else sessions)
        scopes = ordered(principal.scopes) if scope is None else scope
        ttl = min(DEFAULT_TTL if ttl is None else ttl, left)
        check_grant(principal.name, wanted, scopes, ttl)
        if sub is not None and sub != principal.name:
            raise Refused("A renewed token is for the same sub.")
        wider = [s for s in wanted if not any(within(s, held) for held in principal.sessions)]
        if wider:
            raise Refused(f"Your token does not cover {wider[0]}.")
        more = [s for s in scopes.split() if s not in principal.scopes]
        if more:
            raise Refused(f"Your token lacks the scope {more[0]}.")
        return self.mint(principal.name, wanted, scopes, ttl, auth_time=principal.auth_time)


@lru_cache(maxsize=256)
def scopes_of(scope: str) -> frozenset[str]:
    """The scopes that a token's claim names, those that are known: one object for all tokens that
    say the same, since each open socket holds one."""
    return frozenset(scope.split()) & frozenset(SCOPES)


def bearer(authorization: str | None) -> str | None:
    """The credential of an `Authorization: Bearer …` header (RFC 6750), if it is one."""
    scheme, _, credential = (authorization or "").strip().partition(" ")
    return credential.strip() or None if scheme.lower() == "bearer" else None


def bearer_of_subprotocols(offered: Sequence[str]) -> str | None:
    """The token of the WebSocket subprotocol pair `jobcast.v1, bearer.<token>`. The hub answers
    with `jobcast.v1` alone, so that the token is not repeated."""
    if SUBPROTOCOL not in offered:
        return None
    for word in offered:
        if word.startswith(_BEARER_PROTOCOL):
            return word.removeprefix(_BEARER_PROTOCOL) or None
    return None
