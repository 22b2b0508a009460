"""A hub whose tasks are announced, and a worker's hand."""

from __future__ import annotations

import pytest

from hub.transitions import Transitions
from tests.announced import TASKS, Hand
from tests.running_hub import Hub


@pytest.fixture
async def hand(hub: Hub, transitions: Transitions) -> Hand:
    await transitions.announce(TASKS)
    return Hand(transitions)
