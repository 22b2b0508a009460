"""Celery with Jobcast beside it: your tasks stay Celery's, and people see them run.

pip install 'jobcast[celery]' 'celery[redis]'
export JOBCAST_REDIS_URL=redis://127.0.0.1:6379/0 CELERY_BROKER=redis://127.0.0.1:6379/1
export JOBCAST_SECRET=$(openssl rand -hex 32)
jobcast hub                                                 # the first terminal
celery -A examples.celery_beside worker                     # the second
python -m examples.celery_beside shop:42                    # the third: queues, and follows
"""

import asyncio
import os
import sys
import time
from typing import Any

from celery import Celery

from hub.client import Jobs
from worker.integrations import log
from worker.integrations.celery import install

broker = os.environ.get("CELERY_BROKER", "redis://127.0.0.1:6379/1")
app = Celery("examples.celery_beside", broker=broker, backend=broker)
jobcast = install(app)  # this is all


@app.task(bind=True, autoretry_for=(ConnectionError,), max_retries=3, retry_backoff=True)
def send_newsletter(self: Any, readers: int) -> dict[str, int]:
    """Nothing in here knows of Jobcast, but for the line that logs."""
    for done in range(readers):
        self.update_state(state="PROGRESS", meta={"current": done, "total": readers})
        log(f"to reader {done + 1}")
        time.sleep(0.02)
    return {"sent": readers}


async def main(session: str) -> None:
    """Queues a task as any Celery program does, and waits for its Jobcast job."""
    sent = send_newsletter.apply_async((12,), headers={"jobcast_session": session})
    job_id = await asyncio.to_thread(jobcast.reporter.jobcast_id, sent.id)
    assert job_id is not None, "Jobcast's Redis cannot be reached"
    print(f"Celery's {sent.id} is Jobcast's {job_id}", flush=True)
    async with Jobs() as jobs:
        job = await jobs.wait(job_id)
    print(job.status, job.result, flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "demo"))
