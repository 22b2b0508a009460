"""The `hello` of a subscription: where it stands, and what it must know before events follow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from hub.events import seq
from hub.feed import Feed, Subscriber
from hub.jobs import EVENT_PART_BYTES, Job
from hub.pages import Message
from hub.store import Store

#: A longer replay becomes a snapshot.
REPLAY_BYTES: Final = 512 * 1024
#: Cursors of which a session remembers whether its history replays from there.
VERDICTS: Final = 16
_UINT64: Final = 2**64


class Greeting(NamedTuple):
    """A hello's JSON and its cursor. `over`: nothing will follow, since the one job that was
    asked for has ended."""

    body: bytes
    cursor: bytes
    resumed: bool
    over: bool = False


def cursor_of(text: object) -> bytes | None:
    """A cursor from outside; None for what is none, which resumes as a snapshot."""
    if not isinstance(text, str):
        return None
    cursor = text.encode("utf-8", "replace")
    try:
        seq(cursor)
    except ValueError:
        return None
    number, _, nonce = cursor.partition(b"-")
    return cursor if int(number) < _UINT64 and int(nonce) < _UINT64 else None


async def greeting(
    store: Store,
    feed: Feed,
    subscriber: Subscriber,
    now: Callable[[], str],
    replayable: Replayable,
) -> Greeting | None:
    """The hello of a starting subscriber; None when the one job that it asks for is not there.

    Raises what the Redis client raises."""
    session_id, after = subscriber.session_id, subscriber.after
    resumed = after is not None and (
        feed.resumes(after) or await replayable.ask(store, feed, after)
    )
    more: str | None = None
    messages: Sequence[Message] = ()
    jobs: Sequence[Job]
    over = False
    if subscriber.job is not None:
        cursor = after if resumed and after else await store.top(session_id)
        job = await store.job(subscriber.job.decode())
        if job is None:
            return None
        jobs = [job.trimmed(EVENT_PART_BYTES)]
        over = job.terminal and not resumed
    elif resumed and after is not None:
        cursor = after
        jobs = await store.live_jobs(session_id)
    else:
        snapshot = await store.snapshot(session_id)
        cursor = snapshot.cursor.encode()
        jobs, more, messages = snapshot.jobs, snapshot.more, snapshot.messages
    hello: dict[str, Any] = {
        "type": "hello",
        "session_id": session_id,
        "cursor": cursor.decode(),
        "resumed": resumed,
        "jobs": jobs,
        "more": more,
        "messages": messages,
        "time": now(),
    }
    if subscriber.ref is not None:
        hello["ref"] = subscriber.ref
    return Greeting(msgspec.json.encode(hello), cursor, resumed, over)


class Replayable:
    """From which cursors a session's history replays, as it was found out lately: those who were
    cut off together come back together.

    It holds for one top of the session, and for `VERDICTS` cursors. Should it be wrong all the
    same, since the history was rewritten, the page that is read next tells, and the subscriber
    is greeted with a snapshot."""

    __slots__ = ("_found", "_top")

    def __init__(self) -> None:
        self._top: bytes | None = None
        self._found: dict[bytes, bool] | None = None

    async def ask(self, store: Store, feed: Feed, after: bytes) -> bool:
        """Whether everything after a cursor is there, and not too much. Raises what the Redis
        client raises."""
        top = feed.top
        if self._found is not None and top == self._top and after in self._found:
            return self._found[after]
        found = await _replayable(store, feed.session_id, after)
        if self._found is None or top != self._top or len(self._found) >= VERDICTS:
            self._top, self._found = top, {}
        self._found[after] = found
        return found


async def _replayable(store: Store, session_id: str, after: bytes) -> bool:
    try:
        history = await store.history(session_id, after)
    except (ValueError, KeyError):
        # An entry that is none of ours: whatever it was, a snapshot tells the state.
        return False
    return (
        history.follows(after)
        and (not history.entries or history.entries[-1].cursor == history.top)
        and sum(len(entry.body) for entry in history.entries) <= REPLAY_BYTES
    )
