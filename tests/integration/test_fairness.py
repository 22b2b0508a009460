"""Many sessions on one socket: a busy one does not hold up the others."""

from __future__ import annotations

import dataclasses

import pytest

from hub.settings import Settings
from tests.conftest import API_KEY
from tests.running_hub import running
from tests.wire import Hands, stuck, wire


@pytest.mark.parametrize("fast", [True, False])
async def test_a_session_far_behind_does_not_hold_up_the_others(
    settings: Settings, fast: bool
) -> None:
    backlog, quiet = 150, ["s2", "s3", "s4"]
    narrow = dataclasses.replace(settings, unsent_bytes=16_384)
    async with running(narrow, API_KEY, fast=fast) as hub:
        hands = Hands(hub.services)
        token = hub.token("s1", *quiet)
        async with wire(hub, "/ws", token, narrow=True) as client:
            for session_id in ("s1", *quiet):
                await client.send(type="subscribe", session_id=session_id)
                await client.until("hello", session_id=session_id)
            busy = await stuck(hub, hands) + backlog
            for _ in range(backlog):
                await hands.queue("s1")
            for session_id in quiet:
                await hands.queue(session_id)
            order: list[str] = []
            while order.count("s1") < busy:
                order.append((await client.until("job.pending"))["session_id"])
    # Each quiet one has its turn after what was under way already, and one turn of the others.
    assert sorted(session_id for session_id in order if session_id != "s1") == quiet
    last = max(order.index(session_id) for session_id in quiet)
    assert order[last:].count("s1") > backlog / 2
