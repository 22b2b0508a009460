"""Loads the Lua scripts and runs them.

A script is its own shebang, then the settings as constants, then what all share (`PRELUDES`), then
its file.
Files `family_*.lua` share a `family_prelude.lua` after that, where there is one.
Every one takes the partition's prefix as KEYS[1] and a random seed as ARGV[1].
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Awaitable, Iterable, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Protocol

from redis.exceptions import NoScriptError

from hub import keys
from hub.settings import Settings

_FOLDER = Path(__file__).parent / "lua"

#: What every script starts with, in this order: each file uses what the ones before it define.
PRELUDES = ("prelude", "places_prelude", "moves_prelude")

Arg = str | bytes | int | float


class AsyncEval(Protocol):
    """What an async Redis client must have."""

    def evalsha(self, sha: str, numkeys: int, *args: Any) -> Awaitable[Any]: ...

    def script_load(self, script: str) -> Awaitable[Any]: ...


class SyncEval(Protocol):
    """What a blocking Redis client must have."""

    def evalsha(self, sha: str, numkeys: int, *args: Any) -> Any: ...

    def script_load(self, script: str) -> Any: ...


@cache
def _file(name: str) -> str:
    return (_FOLDER / f"{name}.lua").read_text(encoding="utf-8")


@cache
def names() -> tuple[str, ...]:
    """The names of all scripts."""
    found = (path.stem for path in _FOLDER.glob("*.lua"))
    return tuple(sorted(name for name in found if not name.endswith("prelude")))


def seed() -> str:
    """A fresh random seed for one call of a script (128 bits)."""
    return os.urandom(16).hex()


class Script:
    """One script under given settings. `source` is what the server compiles, `sha` its SHA-1."""

    __slots__ = ("name", "sha", "source")

    def __init__(self, name: str, constants: str) -> None:
        body = _file(name)
        first, _, rest = body.partition("\n")
        if not first.startswith("#!lua"):
            first, rest = "#!lua", body
        self.name = name
        family = f"{name.partition('_')[0]}_prelude"
        shared = _file(family) if (_FOLDER / f"{family}.lua").exists() else ""
        preludes = "\n".join(_file(prelude) for prelude in PRELUDES)
        self.source = f"{first}\n{constants}\n{preludes}\n{shared}\n{rest}"
        self.sha = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()

    def args(self, args: Sequence[Arg]) -> tuple[Any, ...]:
        """What to give EVALSHA after the SHA: the key count, the prefix, a seed and `args`."""
        return (1, keys.PREFIX, seed(), *args)


@lru_cache(maxsize=8)
def _scripts(constants: str) -> dict[str, Script]:
    return {name: Script(name, constants) for name in names()}


class Scripts:
    """All scripts under one Settings."""

    def __init__(self, settings: Settings) -> None:
        constants = "local " + "\nlocal ".join(
            f"{name} = {value}"
            for name, value in {
                "EVENTS_MAX": settings.events_per_session,
                "MESSAGES_MAX": settings.messages_per_session,
                "LOG_MAX": settings.log_lines,
                "KEEP_MS": int(settings.keep * 1000),
                "LEASE_MS": int(settings.lease * 1000),
                "MAX_LOST": settings.max_lost,
                "OUTBOX_MAX": settings.outbox_entries,
                "AGENT": "true" if settings.agent else "false",
            }.items()
        )
        self._scripts = _scripts(constants)

    def __getitem__(self, name: str) -> Script:
        return self._scripts[name]

    async def run(self, redis: AsyncEval, name: str, *args: Arg) -> Any:
        """Runs a script, loading it first where the server does not know it (after a restart,
        a failover or SCRIPT FLUSH). Raises what the client raises."""
        script = self._scripts[name]
        packed = script.args(args)
        try:
            return await redis.evalsha(script.sha, *packed)
        except NoScriptError:
            await redis.script_load(script.source)
            return await redis.evalsha(script.sha, *packed)

    def run_sync(self, redis: SyncEval, name: str, *args: Arg) -> Any:
        """The same with a blocking client, for the thread that renews leases."""
        script = self._scripts[name]
        packed = script.args(args)
        try:
            return redis.evalsha(script.sha, *packed)
        except NoScriptError:
            redis.script_load(script.source)
            return redis.evalsha(script.sha, *packed)


def names_arg(names: Iterable[str]) -> str:
    """A set of names as the scripts read it: `,a,b,`."""
    return "," + "".join(f"{name}," for name in names)


def text(value: object) -> str:
    """A Redis reply as text."""
    return value.decode() if isinstance(value, bytes) else str(value)
