"""A real hub as a process of its own, for a browser to talk to; jobs are told of by the test, in
the part of somebody else's queue."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

from tests.conftest import API_KEY, SECRET
from tests.hub_process import COMMAND, environment

ROOT = Path(__file__).parents[2]
MOUNTED = (sys.executable, str(ROOT / "examples" / "mounted.py"))
HUB = (*COMMAND, "hub")


class RealHub:
    """`url` is its address, with a slash at its end."""

    def __init__(self, url: str, client: httpx2.Client) -> None:
        self.url = url
        self._client = client
        self._tokens: dict[str, str] = {}

    def post(self, path: str, body: Any) -> Any:
        answer = self._client.post(path, json=body)
        assert answer.is_success, answer.text
        return answer.json()

    def token(self, *sessions: str, **more: Any) -> str:
        """A session token for a page."""
        body = {"sub": "ada", "sessions": sessions, "scope": "read cancel enqueue input approve"}
        return str(self.post("tokens", body | more)["token"])

    def begin(self, session_id: str, title: str, **more: Any) -> str:
        """A job that runs elsewhere: its id."""
        body = {"task": "elsewhere", "queue": None, "session_id": session_id, "title": title}
        queued = self.post("jobs", body | more)
        self._tokens[queued["job_id"]] = queued["token"]
        return str(queued["job_id"])

    def tell(self, job_id: str, *events: dict[str, Any]) -> None:
        self.post(f"jobs/{job_id}/events", {"token": self._tokens[job_id], "events": events})

    def job(self, job_id: str) -> Any:
        return self._client.get(f"jobs/{job_id}").json()


@contextmanager
def real_hub(
    command: tuple[str, ...], port: int, redis_url: str, below: str = "", **settings: str
) -> Iterator[RealHub]:
    """Runs a hub, or an app with one below a path, on a loopback port, until the context ends."""
    env = environment(
        PORT=str(port),
        JOBCAST_PORT=str(port),
        JOBCAST_REDIS_URL=redis_url,
        JOBCAST_SECRET=SECRET,
        JOBCAST_API_KEYS=f"test:{API_KEY}",
        **settings,
    )
    url = f"http://127.0.0.1:{port}/{below}"
    process = subprocess.Popen(command, env=env, cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        headers = {"Authorization": f"Bearer {API_KEY}"}
        with httpx2.Client(base_url=url, headers=headers, timeout=20) as client:

            def answers() -> bool:
                assert process.poll() is None, "the hub ended"
                try:
                    return client.get("readyz").status_code == 200
                except httpx2.TransportError:
                    return False

            wait(answers, "the hub answers")
            yield RealHub(url, client)
    finally:
        process.terminate()
        try:
            process.wait(20)
        finally:
            process.kill()


def wait(condition: Callable[[], bool], what: str, seconds: float = 30) -> None:
    """Returns once `condition` holds; raises AssertionError, saying `what`, when it never does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.02)
