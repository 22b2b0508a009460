"""examples/celery_beside.py as its reader runs it."""

from __future__ import annotations

import pytest

from tests.integrations.conftest import Beside

pytestmark = pytest.mark.slow


async def test_the_example(beside: Beside) -> None:
    env = {"CELERY_BROKER": beside.broker.url}
    worker = await beside.start(
        *("-m", "celery", "-A", "examples.celery_beside", "worker", "-c", "1", "-l", "INFO"), **env
    )
    await worker.until_said(" ready.")
    sender = await beside.start("-m", "examples.celery_beside", "shop:42", **env)
    await sender.until_said("completed {'sent': 12}")
    assert "is Jobcast's " in sender.log
    [job] = await beside.until_types("pending", "running", "completed", session_id="shop:42")
    assert (job.task, job.max_attempts) == ("examples.celery_beside.send_newsletter", 4)
    assert job.progress is not None
    assert (job.progress.current, job.progress.total) == (11, 12)
    assert (await beside.lines(job.id))[-1] == "to reader 12"
