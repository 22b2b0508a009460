"""How many jobs may run at once: a task's limits, as they are declared and announced. No I/O."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from hub.jobs import KEY_NAME

PLACEHOLDER: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


class Limit(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """At most `most` jobs of a task run at once: in all, or in each session (`per="session"`), or,
    whatever their task, of those with the same `key`. `{param}` in a key is the param's value."""

    most: Annotated[int, Meta(ge=1)]
    per: Literal["task", "session"] = "task"
    key: Annotated[str, Meta(min_length=1, max_length=200)] | None = None

    def name(self, task: str, session_id: str, params: Mapping[str, Any]) -> str:
        """What jobs that count together have in common: characters of a unique key only."""
        if self.key is None:
            return f"task:{task}" + (f"@{session_id}" if self.per == "session" else "")
        key = PLACEHOLDER.sub(lambda match: _text(params.get(match[1])), self.key)
        if self.per == "session":
            key = f"{session_id}/{key}"
        if not KEY_NAME.fullmatch(key):
            key = "sha256:" + hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()
        return f"key:{key}"


def packed(
    limits: Sequence[Limit],
    task: str,
    session_id: str,
    params: Mapping[str, Any],
    session_most: int = 0,
) -> str | None:
    """A job's limits as its hash has them, `<name> <most> …`, or None when it has none.
    `session_most`: how many jobs of any task a session may have running; 0 is no limit."""
    found: dict[str, int] = {}
    for limit in limits:
        name = limit.name(task, session_id, params)
        found[name] = min(limit.most, found.get(name, limit.most))
    if session_most > 0:
        found[f"session:{session_id}"] = session_most
    return " ".join(f"{name} {most}" for name, most in found.items()) or None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
