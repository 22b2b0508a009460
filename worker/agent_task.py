"""The agent's turns as a task, for the runner: jobs of the internal queue `agent`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hub.agent.model import Model
from hub.agent.turn import TASK, take_turn
from hub.enqueue import Enqueuer
from hub.jobs import AGENT_QUEUE
from hub.store import Store
from hub.transitions import Transitions
from worker.retry import Retry
from worker.tasks import Registry, task

if TYPE_CHECKING:
    from worker.context import Context

__all__ = ["agent_registry"]


def agent_registry(
    store: Store, transitions: Transitions, enqueuer: Enqueuer, model: Model | None = None
) -> Registry:
    """The one task `agent.turn`. A turn may be taken again: it does nothing twice. With a `model`
    messages are answered by that."""

    @task(name=TASK, queue=AGENT_QUEUE, timeout=120, retry=Retry(attempts=5, base=1.0, cap=30.0))
    async def turn(
        ctx: Context, message_id: str = "", cursor: str = "", may: str = "", about_job: str = ""
    ) -> None:
        """Answer a person's message, or have the word on a job that ended."""
        params = {"message_id": message_id, "cursor": cursor, "may": may, "about_job": about_job}
        await take_turn(store, transitions, enqueuer, ctx.session_id, params, model)

    registry = Registry()
    registry.add(turn)
    return registry
