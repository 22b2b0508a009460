"""What the store publishes, as a hub would hear it."""

from __future__ import annotations

from typing import Any

from redis.asyncio import Redis

from hub import keys
from hub.events import Publication, parse

ERROR = b'{"code":"error","message":"x"}'


async def published(redis: Redis, session_id: str, act: Any) -> list[Publication]:
    """What is published about a session while `act()` runs."""
    client: Any = redis
    pubsub = client.pubsub()
    channel = keys.live(session_id)
    await pubsub.ssubscribe(channel)
    await pubsub.get_message(timeout=60)
    await act()
    await client.execute_command("SPUBLISH", channel, "X -\n")
    out = []
    while True:
        message = await pubsub.get_message(timeout=60)
        assert message is not None
        publication = parse(message["data"])
        if publication.kind == "X":
            break
        out.append(publication)
    await pubsub.aclose()
    return out
