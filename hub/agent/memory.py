"""What the agent remembers of a conversation: what was said, and what it took that for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from hub import keys
from hub.agent.intents import Intent
from hub.pages import Message
from hub.scripts import text
from hub.store import Store

#: How many messages back the agent looks.
WINDOW: Final = 50
KEEP: Final = 86_400

_INTENT: Final[msgspec.json.Decoder[Intent]] = msgspec.json.Decoder(Intent)


class Spoken(NamedTuple):
    """A message; `turn` is the job in which the agent answers it, or empty."""

    message: Message
    turn: str


class Memory:
    """Over the store's own keys. A decision is kept in the memo of the turn that it was made for,
    once: whichever turn makes it first, and however often they run, it is the same."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def until(self, session_id: str, cursor: str) -> list[Spoken]:
        """The last 50 messages up to the one at `cursor`, oldest first; empty when it is gone."""
        found = await self._store.redis.xrevrange(
            keys.messages(session_id), cursor, "-", count=WINDOW
        )
        if not found or text(found[0][0]) != cursor:
            return []
        spoken = []
        for entry_id, fields in reversed(found):
            message = msgspec.json.decode(fields[b"m"], type=Message)
            message.cursor = text(entry_id)
            spoken.append(Spoken(message, text(fields.get(b"t", b""))))
        return spoken

    async def unanswered(self, session_id: str, spoken: Sequence[Spoken]) -> list[Spoken]:
        """Those that wait for an answer, in their order."""
        waiting = [one for one in spoken if one.turn]
        if not waiting:
            return []
        answers = [answer_id(one.message) for one in waiting]
        scores = await self._store.redis.zmscore(keys.message_ids(session_id), answers)
        return [one for one, score in zip(waiting, scores, strict=True) if score is None]

    async def may(self, turn: str) -> frozenset[str]:
        """The scopes of the person who speaks."""
        (params,) = await self._store.job_fields(turn, "params")
        said = msgspec.json.decode(params) if params else {}
        return frozenset(str(said.get("may", "")).split())

    async def decided(self, turn: str) -> Intent | None:
        """What a message was taken for, if that was decided."""
        found = await self.step(turn, "intent")
        return None if found is None else _INTENT.decode(found)

    async def decide(self, turn: str, intent: Intent) -> Intent:
        """Keeps a decision, unless there is one; returns the one that counts."""
        return _INTENT.decode(await self.keep(turn, "intent", msgspec.json.encode(intent)))

    async def step(self, turn: str, name: str) -> bytes | None:
        """What a turn keeps under a name."""
        found: bytes | None = await self._store.redis.hget(keys.memo(turn), f"step:{name}")
        return found

    async def keep(self, turn: str, name: str, value: bytes) -> bytes:
        """Keeps a value for a turn that is taken again, unless there is one; returns the one that
        counts."""
        pipe = self._store.redis.pipeline(transaction=True)
        memo = keys.memo(turn)
        pipe.hsetnx(memo, f"step:{name}", value)
        pipe.hget(memo, f"step:{name}")
        pipe.expire(memo, KEEP, nx=True)
        _, kept, _ = await pipe.execute()
        counts: bytes = kept
        return counts


def answer_id(message: Message) -> str:
    """The id of the agent's answer to a message."""
    return f"re.{message.message_id}"
