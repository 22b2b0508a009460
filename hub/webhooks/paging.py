"""Pages of a Redis zset, newest first, through a filter that Redis cannot apply."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

from hub.errors import BadInput
from hub.scripts import text

T = TypeVar("T")

#: How many members one page looks at, at most.
SCAN: Final = 1_000
BATCH: Final = 200

#: The items of these members, in their order; None for one that is gone or does not belong.
Fetch = Callable[[Sequence[str]], Awaitable[Sequence[T | None]]]


async def page_of(
    redis: Any, index: str, fetch: Fetch[T], *, limit: int, cursor: str | None
) -> tuple[list[T], str | None]:
    """A page of at most `limit` items, and the cursor of the next one, or None.

    One call looks at no more than 1,000 members, so that a page may be short and still have a
    next. Raises BadInput when the cursor is none of ours."""
    start = await _after(redis, index, cursor)
    out: list[T] = []
    for first in range(start, start + SCAN, BATCH):
        rows = await redis.zrevrange(index, first, first + BATCH - 1, withscores=True)
        found = await fetch([text(member) for member, _ in rows]) if rows else []
        for place, (row, item) in enumerate(zip(rows, found, strict=True)):
            if item is None:
                continue
            out.append(item)
            if len(out) == limit:
                last = place == len(rows) - 1 and len(rows) < BATCH
                return out, None if last else _cursor(row)
        if len(rows) < BATCH:
            return out, None
    return out, _cursor(rows[-1])


async def _after(redis: Any, index: str, cursor: str | None) -> int:
    if cursor is None:
        return 0
    score, dot, member = cursor.partition(".")
    if not (dot and score.isascii() and score.isdigit() and len(cursor) <= 96):
        raise BadInput([("/cursor", "must be the `more` of an earlier page")])
    rank = await redis.zrevrank(index, member)
    if rank is not None:
        return int(rank) + 1
    return int(await redis.zcount(index, f"({score}", "+inf"))


def _cursor(row: tuple[bytes, float]) -> str:
    return f"{int(row[1])}.{text(row[0])}"
