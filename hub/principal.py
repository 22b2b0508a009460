"""Who is calling, and what that covers. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Literal

import msgspec

from hub.errors import BadInput, Refused
from hub.jobs import SESSION_ID

SCOPES: Final = ("read", "cancel", "enqueue", "input", "approve", "admin")
MAX_TTL: Final = 30 * 86_400
MAX_SESSIONS: Final = 128


class Principal(msgspec.Struct, frozen=True, gc=False):
    """Who calls. `name` is a key's name or a token's `sub`; `sessions` are ids or `prefix:*`.

    An API key covers every session and has every scope: it could mint whatever it lacked. The
    scope `admin` covers every session too, and has every scope but `approve`, which is given to
    people by name, so that no agent approves what it asked for itself.
    `expires_at` and `auth_time` are in seconds since the epoch."""

    kind: Literal["key", "token"]
    name: str
    sessions: tuple[str, ...] = ()
    scopes: frozenset[str] = frozenset()
    expires_at: float | None = None
    auth_time: float | None = None

    @property
    def is_key(self) -> bool:
        """Whether it is an API key."""
        return self.kind == "key"

    @property
    def is_admin(self) -> bool:
        """Whether it may see everything."""
        return self.is_key or "admin" in self.scopes

    @property
    def credential(self) -> str:
        """The name under which jobs and webhooks remember it: a key's name as it is."""
        return self.name if self.is_key else f"sub:{self.name}"

    def covers(self, session_id: str) -> bool:
        """Whether the session is one of its own."""
        return self.is_admin or any(_matches(held, session_id) for held in self.sessions)

    def has(self, scope: str) -> bool:
        """Whether it has a scope, in the sessions that it covers."""
        return self.is_key or scope in self.scopes or (self.is_admin and scope != "approve")

    def may(self, scope: str, session_id: str) -> bool:
        """Whether it covers the session and has the scope."""
        return self.has(scope) and self.covers(session_id)

    def same_holder(self, other: Principal) -> bool:
        """Whether `other` is the same caller with a fresh credential."""
        return (self.kind, self.name) == (other.kind, other.name)

    def require(self, scope: str, session_id: str | None = None) -> None:
        """Raises Refused, saying which scope is missing or that the session is not covered. It
        says nothing of whether the session exists."""
        if session_id is not None and not self.covers(session_id):
            raise Refused("Your token does not cover this session.")
        if self.has(scope):
            return
        if scope == "approve":
            raise Refused(
                "To answer a confirm needs the scope approve, which admin does not imply: give it"
                " to the person who decides."
            )
        raise Refused(f"Your token lacks the scope {scope}.")


def check_grant(sub: str, sessions: Sequence[str], scope: str, ttl: float) -> None:
    """Raises BadInput where a token cannot say this. Without `admin` it must name a session."""
    errors: list[tuple[str, str]] = []
    if not 1 <= len(sub) <= 128 or not sub.isprintable():
        errors.append(("/sub", "must have 1 to 128 printable characters"))
    if len(sessions) > MAX_SESSIONS:
        errors.append(("/sessions", f"must name at most {MAX_SESSIONS} sessions"))
    if not sessions and "admin" not in scope.split():
        errors.append(("/sessions", "must name at least one session: an id or prefix:*"))
    for index, session in enumerate(sessions):
        if not is_pattern(session):
            errors.append(
                (
                    f"/sessions/{index}",
                    "must be an id of 1 to 128 of A-Z a-z 0-9 _ . : - or prefix:*",
                )
            )
    words = scope.split()
    if not words or any(word not in SCOPES for word in words):
        errors.append(("/scope", "must be some of: " + " ".join(SCOPES)))
    if not 1 <= ttl <= MAX_TTL:
        errors.append(("/ttl", f"must be from 1 to {MAX_TTL} seconds"))
    if errors:
        raise BadInput(errors)


def is_pattern(text: str) -> bool:
    """Whether `text` is a session id, or `prefix:*`."""
    plain = text[:-1] if text.endswith(":*") and len(text) > 2 else text
    return SESSION_ID.fullmatch(plain) is not None


def _matches(held: str, session_id: str) -> bool:
    return session_id.startswith(held[:-1]) if held.endswith(":*") else session_id == held


def within(wanted: str, held: str) -> bool:
    return wanted == held or (held.endswith(":*") and wanted.startswith(held[:-1]))


def ordered(scopes: Iterable[str]) -> str:
    held = set(scopes)
    return " ".join(scope for scope in SCOPES if scope in held)
