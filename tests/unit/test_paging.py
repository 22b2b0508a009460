"""Pages that are kept: for whom, for how long, and how many."""

from __future__ import annotations

import asyncio

import pytest

from hub.events import Publication
from hub.feed.history import History
from hub.followed import Followed
from hub.paging import PAGE, Paging

BODY = b"x" * 436


class Reads:
    """What is read, once `go` is set: a page of `entries`."""

    def __init__(self, entries: int = 2, exact: bool = True) -> None:
        self.asked: list[tuple[str, bytes]] = []
        self.entries = [
            Publication("L", BODY, cursor=b"%d-7" % n, prev=b"%d-7" % (n - 1))
            for n in range(1, entries + 1)
        ]
        self.exact = exact
        self.fails = False
        self.begun = asyncio.Event()
        self.go = asyncio.Event()
        self.go.set()

    async def __call__(self, session_id: str, after: bytes, limit: int) -> History:
        assert limit == PAGE
        self.asked.append((session_id, after))
        self.begun.set()
        await self.go.wait()
        if self.fails:
            raise OSError("away")
        return History(self.exact, list(self.entries), b"9-7")


def session(name: str = "s") -> Followed:
    found = Followed(name)
    found.feed.settle_at(found.feed.reading(), b"9-7")
    return found


def paging(reads: Reads, kept: int = 10_000) -> Paging:
    return Paging(reads, asyncio.Semaphore(2), kept)


async def test_a_page_is_read_once() -> None:
    reads, s = Reads(), session()
    pages = paging(reads)
    first = await pages.page(s, b"0-0")
    assert await pages.page(s, b"0-0") is first
    assert reads.asked == [("s", b"0-0")]
    # Another place, and another who bears the name.
    await pages.page(s, b"1-7")
    await pages.page(session(), b"0-0")
    assert len(reads.asked) == 3


async def test_whoever_reads_for_others_may_go() -> None:
    reads, s = Reads(), session()
    pages = paging(reads)
    reads.go.clear()
    first, *others = [asyncio.create_task(pages.page(s, b"0-0")) for _ in range(10)]
    await reads.begun.wait()
    first.cancel()
    reads.go.set()
    found = await asyncio.gather(*others)
    assert len(reads.asked) == 2
    assert all(page is found[0] for page in found)
    assert first.cancelled()


async def test_what_fails_is_told_to_who_read_and_tried_by_the_next() -> None:
    reads, s = Reads(), session()
    pages = paging(reads)
    reads.go.clear()
    reads.fails = True
    tasks = [asyncio.create_task(pages.page(s, b"0-0")) for _ in range(3)]
    await reads.begun.wait()
    reads.go.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [OSError] * 3
    assert len(reads.asked) == 3
    reads.fails = False
    assert (await pages.page(s, b"0-0")).entries == reads.entries


async def test_a_doubt_makes_it_old() -> None:
    reads, s = Reads(), session()
    pages = paging(reads)
    await pages.page(s, b"0-0")
    s.feed.doubt()
    await pages.page(s, b"0-0")
    s.feed.settle(s.feed.reading(), History(True, [], b"9-7"))
    assert s.feed.settled
    await pages.page(s, b"0-0")
    assert len(reads.asked) == 2, "what was read since the doubt is as good as any"
    s.feed.forget()
    await pages.page(s, b"0-0")
    assert len(reads.asked) == 3


async def test_a_doubt_meanwhile_keeps_it_from_being_kept() -> None:
    reads, s = Reads(), session()
    pages = paging(reads)
    reads.go.clear()
    task = asyncio.create_task(pages.page(s, b"0-0"))
    await reads.begun.wait()
    s.feed.deaf()
    reads.go.set()
    await task
    s.feed.settle(s.feed.reading(), History(True, [], b"9-7"))
    await pages.page(s, b"0-0")
    assert len(reads.asked) == 2


@pytest.mark.parametrize(("entries", "exact"), [(0, True), (0, False), (2, False)])
async def test_what_says_nothing_of_later_is_not_kept(entries: int, exact: bool) -> None:
    reads, s = Reads(entries, exact), session()
    pages = paging(reads)
    await pages.page(s, b"0-0")
    await pages.page(s, b"0-0")
    assert len(reads.asked) == 2


async def test_what_was_asked_for_longest_ago_goes_first() -> None:
    # Each page has two bodies of 436 bytes and their frames: 1,000.
    reads, s = Reads(), session()
    pages = paging(reads, kept=3_000)
    for after in (b"1-7", b"2-7", b"3-7", b"1-7", b"4-7", b"1-7", b"3-7"):
        await pages.page(s, after)
    assert [after for _, after in reads.asked] == [b"1-7", b"2-7", b"3-7", b"4-7"]
    await pages.page(s, b"2-7")
    assert reads.asked[-1] == ("s", b"2-7")


async def test_one_that_is_too_large_is_not_kept() -> None:
    reads, s = Reads(), session()
    pages = paging(reads, kept=999)
    assert len((await pages.page(s, b"0-0")).entries) == 2
    await pages.page(s, b"0-0")
    assert len(reads.asked) == 2
