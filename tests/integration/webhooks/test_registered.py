"""Registered webhooks in Redis, and what jobs learn of them."""

from __future__ import annotations

from typing import Any

from redis.asyncio import Redis

from hub import keys
from hub.webhooks.store import WebhookStore


async def test_hooked_is_the_union_of_what_is_wanted(redis: Redis, hooks: WebhookStore) -> None:
    async def hooked() -> dict[str, set[str]]:
        client: Any = redis
        found = await client.hgetall(keys.HOOKED)
        return {
            scope.decode(): set(types.decode().strip(",").split(","))
            for scope, types in found.items()
        }

    first = await hooks.put(url="https://a.example/", types=["a", "b"], session_id="s", owner="o")
    second = await hooks.put(url="https://b.example/", types=["b", "c"], session_id="s", owner="o")
    every = await hooks.put(url="https://c.example/", types=["d"], owner="o")
    assert await hooked() == {"s": {"a", "b", "c"}, "*": {"d"}}
    assert await hooks.delete(first.id)
    assert await hooked() == {"s": {"b", "c"}, "*": {"d"}}
    assert await hooks.delete(second.id)
    assert await hooks.delete(every.id)
    assert await hooked() == {}
    assert not await hooks.delete(every.id)


async def test_a_forgotten_session_leaves_no_webhook(redis: Redis, hooks: WebhookStore) -> None:
    for session in ("s1", "s1", "s2"):
        await hooks.put(url="https://a.example/", types=["a"], session_id=session, owner="o")
    assert await hooks.forget_session("s1") == 2
    assert [webhook.session_id for webhook in (await hooks.page()).webhooks] == ["s2"]
    client: Any = redis
    assert await client.hkeys(keys.HOOKED) == [b"s2"]
    assert await hooks.forget_session("s1") == 0


async def test_a_repeated_put_is_one_webhook(hooks: WebhookStore) -> None:
    once = await hooks.put(url="https://a.example/", types=["a"], owner="o", webhook_id="wh_1")
    again = await hooks.put(url="https://b.example/", types=["b"], owner="o", webhook_id="wh_1")
    assert once == again == await hooks.get("wh_1")


async def test_pages_are_newest_first_and_follow_each_other(hooks: WebhookStore) -> None:
    ids = [
        (await hooks.put(url="https://a.example/", types=["a"], session_id=f"s{n}", owner="o")).id
        for n in range(7)
    ]
    seen: list[str] = []
    cursor: str | None = None
    while True:
        page = await hooks.page(limit=3, cursor=cursor, allowed=lambda w: w.session_id != "s3")
        seen += [webhook.id for webhook in page.webhooks]
        if page.more is None:
            break
        cursor = page.more
    assert sorted(seen) == sorted(set(ids) - {ids[3]})
    assert [w.id for w in (await hooks.page(session_id="s3")).webhooks] == [ids[3]]
