"""Who is served together with others, and that nobody can tell."""

from __future__ import annotations

from tests.liveness import wait_until
from tests.running_hub import Hub
from tests.wire import Hands, wire


def together(hub: Hub, session_id: str = "s1") -> int:
    """How many of a session's subscribers are written to in one loop."""
    session = hub.services.fanout._sessions.get(session_id)
    return 0 if session is None else len(session.feed.lane)


async def test_all_who_are_up_to_date_are_served_together(
    hub: Hub, hands: Hands, fast: bool
) -> None:
    async with wire(hub, "/ws/s1") as one, wire(hub, "/ws/s1") as two, wire(hub, "/ws/s1") as three:
        clients = (one, two, three)
        for client in clients:
            await client.until("hello")
        await wait_until(lambda: together(hub) == (3 if fast else 0))
        for number in range(20):
            await hands.queue()
            # Its answer is its own, and takes it out for as long as it is unsent.
            await one.send(type="ping", ref=number)
        for client in clients:
            for _ in range(20):
                await client.until("job.pending")
        for number in range(20):
            if not any(frame.get("ref") == number for frame in one.frames):
                await one.until("pong", ref=number)
        assert one.lifecycle == two.lifecycle == three.lifecycle
        assert len(set(one.lifecycle)) == 20
        await wait_until(lambda: together(hub) == (3 if fast else 0))
    await wait_until(lambda: together(hub) == 0)


async def test_a_socket_of_many_sessions_is_served_by_itself(
    hub: Hub, hands: Hands, fast: bool
) -> None:
    async with wire(hub, token=hub.token("s1", "s2")) as client:
        for session_id in ("s1", "s2"):
            await client.send(type="subscribe", session_id=session_id)
            await client.until("hello", session_id=session_id)
        assert (together(hub), together(hub, "s2")) == (0, 0)
        for session_id in ("s1", "s2", "s1"):
            await hands.queue(session_id)
            await client.until("job.pending", session_id=session_id)
        assert (together(hub), together(hub, "s2")) == (0, 0)
        await client.send(type="unsubscribe", session_id="s2")
        await client.until("ok")
        await wait_until(lambda: together(hub) == int(fast))
        await hands.queue("s2")
        await hands.queue("s1")
        assert (await client.until("job.pending"))["session_id"] == "s1"
