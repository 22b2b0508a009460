"""The Dramatiq actors of the tests: `dramatiq tests.integrations.dramatiq_actors`."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import AsyncIO

import worker.integrations as jobcast
from worker.integrations.dramatiq import Cancelled, Jobcast


def session_of(message: Any) -> str | None:
    user = message.kwargs.get("user")
    return user if isinstance(user, str) else None


# Imported by the tests, too, which give it another broker to send to.
broker = RedisBroker(
    url=os.environ.get("BROKER_URL", "redis://127.0.0.1:1"),
    heartbeat_timeout=2_000,
    maintenance_chance=1_000_000,
)
broker.add_middleware(AsyncIO())
if "BROKER_URL" in os.environ:
    broker.add_middleware(
        Jobcast(session_of=session_of, lease=float(os.environ.get("LEASE", "1.5")))
    )
dramatiq.set_broker(broker)


def mark(name: str) -> Path:
    """A file by which tests and actors tell each other how far they are."""
    return Path(os.environ["TEST_FOLDER"]) / name


def wait_for(name: str) -> None:
    """Returns once there is such a file."""
    while not mark(name).exists():
        time.sleep(0.01)


@dramatiq.actor
def add(a: int, b: int, user: str | None = None) -> int:
    jobcast.progress(1, 4, message="adding")
    jobcast.log(f"{a} + {b}")
    return a + b


@dramatiq.actor
async def add_async(a: int, b: int) -> int:
    jobcast.progress(50)
    return a + b


@dramatiq.actor(max_retries=0)
def boom() -> None:
    raise ValueError("it broke")


@dramatiq.actor(max_retries=2, min_backoff=100, max_backoff=200)
def flaky(fails: int) -> str:
    tries = len([*mark("").glob("try-*")]) + 1
    mark(f"try-{tries}").touch()
    if tries <= fails:
        raise ConnectionError("not yet")
    return f"attempt {tries}"


@dramatiq.actor
def wait(name: str = "go") -> str:
    mark(f"started-{os.getpid()}").touch()
    wait_for(name)
    return name


@dramatiq.actor
def cleans_up() -> None:
    try:
        mark("started-0").touch()
        wait_for("never")
    except Cancelled:
        mark("cleaned").touch()
        raise


@dramatiq.actor(time_limit=500, max_retries=0)
def slow() -> None:
    wait_for("never")


@dramatiq.actor(max_age=1)
def stale() -> None:
    """Never runs: it is always too old."""


@dramatiq.actor
def dies_once() -> str:
    if not mark("died").exists():
        mark("died").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "alive"
