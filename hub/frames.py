"""What clients send on a WebSocket. No I/O."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from hub.decode import decode
from hub.errors import BadInput
from hub.fields import WORDS, InputId, SessionId

Ref = Annotated[str, Meta(max_length=128)] | int | None


class Subscribe(Struct, kw_only=True, forbid_unknown_fields=True):
    """Follow a session; `after` is where to resume (anything that is no cursor: a snapshot)."""

    session_id: SessionId
    after: Any = None
    ref: Ref = None


class Unsubscribe(Struct, kw_only=True, forbid_unknown_fields=True):
    """Follow it no more."""

    session_id: SessionId
    ref: Ref = None


class Auth(Struct, kw_only=True, forbid_unknown_fields=True):
    """The socket's credential, or a fresh one."""

    token: str
    ref: Ref = None


class Cancel(Struct, kw_only=True, forbid_unknown_fields=True):
    """Ask for a job's end."""

    job_id: str
    ref: Ref = None


class Answer(Struct, kw_only=True, forbid_unknown_fields=True):
    """Answer a job's question."""

    job_id: str
    input_id: InputId
    value: Any
    ref: Ref = None


class Ping(Struct, kw_only=True, forbid_unknown_fields=True):
    """Are you there?"""

    ref: Ref = None


Frame = Subscribe | Unsubscribe | Auth | Cancel | Answer | Ping

_KINDS: Final[dict[str, type[Frame]]] = {
    "subscribe": Subscribe,
    "unsubscribe": Unsubscribe,
    "auth": Auth,
    "cancel": Cancel,
    "input": Answer,
    "ping": Ping,
}


class NotAFrame(ValueError):
    """It is not one JSON object: the socket is closed."""


def object_of(raw: bytes) -> dict[str, Any]:
    """The object that a text message holds. Raises NotAFrame."""
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise NotAFrame(f"the message is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise NotAFrame("the message is not a JSON object")
    return value


def frame_of(value: dict[str, Any]) -> Frame:
    """The frame that an object is. Raises BadInput naming every field that is wrong."""
    name = value.get("type")
    kind = _KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise BadInput([("/type", "must be one of: " + ", ".join(_KINDS))])
    members = {field: held for field, held in value.items() if field != "type"}
    return decode(msgspec.json.encode(members), kind, WORDS)


def ref_of(value: dict[str, Any]) -> str | int | None:
    """The `ref` to answer with, where it is one."""
    ref = value.get("ref")
    fits = isinstance(ref, str) and len(ref) <= 128
    return ref if fits or (isinstance(ref, int) and not isinstance(ref, bool)) else None
