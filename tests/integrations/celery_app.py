"""The Celery app of the tests: `celery -A tests.integrations.celery_app worker`."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any, Literal

from celery import Celery
from celery.exceptions import Ignore, Reject

import worker.integrations as jobcast
from worker.integrations.celery import install

ON_CANCEL: Literal["terminate", "ask"] = "ask" if "ON_CANCEL_ASK" in os.environ else "terminate"

app = Celery("tests", broker=os.environ["BROKER_URL"], backend=os.environ["BROKER_URL"])
app.conf.update(
    task_acks_late=False,
    broker_connection_retry_on_startup=True,
    worker_hijack_root_logger=False,
    # A worker looks for what others lost when it starts, and then not for a long time.
    broker_transport_options={"visibility_timeout": 1},
)
installed = install(
    app,
    session_of=lambda name, args, kwargs: kwargs.get("user"),
    lease=float(os.environ.get("LEASE", "1.5")),
    on_cancel=ON_CANCEL,
)


def mark(name: str) -> Path:
    """A file by which tests and tasks tell each other how far they are."""
    return Path(os.environ["TEST_FOLDER"]) / name


def wait_for(name: str) -> None:
    """Returns once there is such a file."""
    while not mark(name).exists():
        time.sleep(0.01)


@app.task(bind=True)
def add(self: Any, a: int, b: int, user: str | None = None) -> int:
    self.update_state(state="PROGRESS", meta={"current": 1, "total": 4, "message": "adding"})
    jobcast.log(f"{a} + {b}")
    return a + b


@app.task
def boom() -> None:
    raise ValueError("it broke")


@app.task(bind=True, max_retries=2)
def flaky(self: Any, fails: int) -> str:
    if self.request.retries < fails:
        raise self.retry(exc=ConnectionError("not yet"), countdown=0.2)
    return f"attempt {self.request.retries + 1}"


@app.task
def wait(name: str = "go") -> str:
    mark(f"started-{os.getpid()}").touch()
    wait_for(name)
    return name


@app.task
def asks() -> None:
    mark("asking").touch()
    while not jobcast.cancel_requested():
        time.sleep(0.01)
    raise Ignore("asked to stop")


@app.task(soft_time_limit=1)
def slow() -> None:
    wait_for("never")


@app.task(time_limit=1)
def slower() -> None:
    wait_for("never")


@app.task(acks_late=True, reject_on_worker_lost=True)
def dies_once() -> str:
    if not mark("died").exists():
        mark("died").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "alive"


@app.task
def dies() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(acks_late=True)
def rejects() -> None:
    raise Reject("not this one", requeue=False)


@app.task(acks_late=True)
def late(name: str = "go") -> str:
    mark(f"late-{os.getpid()}").touch()
    wait_for(name)
    return name
