"""The RQ jobs of the tests, and how its worker is set up:
`rq worker --worker-class tests.integrations.rq_jobs.TestedWorker`."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from rq.job import Job

import worker.integrations as jobcast
from worker.integrations.rq import JobcastSimpleWorker, JobcastWorker, configure


def session_of(job: Job) -> str | None:
    user = (job.kwargs or {}).get("user")
    return user if isinstance(user, str) else None


class TestedWorker(JobcastWorker):
    """With a short lease."""


class TestedSimpleWorker(JobcastSimpleWorker):
    """With a short lease."""


if "JOBCAST_REDIS_URL" in os.environ:
    configure(session_of=session_of, lease=float(os.environ.get("LEASE", "1.5")))


def mark(name: str) -> Path:
    """A file by which tests and jobs tell each other how far they are."""
    return Path(os.environ["TEST_FOLDER"]) / name


def wait_for(name: str) -> None:
    """Returns once there is such a file."""
    while not mark(name).exists():
        time.sleep(0.01)


def add(a: int, b: int, user: str | None = None) -> int:
    jobcast.progress(1, 4, message="adding")
    jobcast.log(f"{a} + {b}")
    return a + b


def boom() -> None:
    raise ValueError("it broke")


def flaky(fails: int) -> str:
    tries = len([*mark("").glob("try-*")]) + 1
    mark(f"try-{tries}").touch()
    if tries <= fails:
        raise ConnectionError("not yet")
    return f"attempt {tries}"


def wait(name: str = "go") -> str:
    mark(f"started-{os.getpid()}").touch()
    wait_for(name)
    return name


def asks() -> str:
    mark("asking").touch()
    while not jobcast.cancel_requested():
        time.sleep(0.01)
    return "stopped"


def dies() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
