"""Tasks that tests announce, and a worker that tests drive by hand."""

from __future__ import annotations

from typing import Any

from hub.claims import Claim
from hub.transitions import Transitions

TASKS: dict[str, dict[str, Any]] = {
    "echo": {
        "name": "echo",
        "description": "Says it again.",
        "params": {
            "type": "object",
            "properties": {
                "text": {"type": "string", "maxLength": 20},
                "times": {"type": "integer", "minimum": 1, "default": 1},
            },
            "required": ["text"],
            "additionalProperties": False,
        },
        "timeout": 60,
        "max_attempts": 2,
        "confirm": None,
        "queue": "default",
    },
    "deploy": {
        "name": "deploy",
        "title": "Deploy to {environment}",
        "description": "Deploys.",
        "params": {
            "type": "object",
            "properties": {"environment": {"type": "string", "default": "staging"}},
            "additionalProperties": False,
        },
        "timeout": 300,
        "max_attempts": 1,
        "confirm": "Deploy to {environment}?",
        "queue": "ops",
    },
    "agent.turn": {
        "name": "agent.turn",
        "description": "",
        "params": {"type": "object"},
        "timeout": 120,
        "max_attempts": 5,
        "confirm": None,
        "queue": "agent",
    },
}


class Hand:
    """A worker that does what the test says, on every queue."""

    def __init__(self, transitions: Transitions) -> None:
        self._transitions = transitions
        self._claims = 0

    async def claim(self) -> Claim:
        """The next job."""
        self._claims += 1
        [claim] = await self._transitions.claim(
            "hand",
            f"hand-{self._claims}",
            queues=["default", "ops", "agent"],
            tasks=TASKS,
            lease=30,
            limit=1,
        )
        return claim

    async def finish(self, result: bytes = b"null") -> str:
        """Claims the next job and completes it; returns its id."""
        claim = await self.claim()
        await self._transitions.finish(claim.job_id, claim.token, "completed", result)
        return claim.job_id
