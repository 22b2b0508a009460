"""The hub's part in the browser's tests: a script answers the page's socket and its few calls."""

import json
import re
import time
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page, Route, WebSocketRoute

SESSION = "chat:main"
TIME = "2026-11-23T19:20:31.042Z"

Frame = dict[str, Any]


class FakeHub:
    """Plays a hub to one page, frame by frame. One session; nothing is checked.

    `frames` is everything that the page sent; `calls` its HTTP calls as (method, path, body)."""

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self.address = address
        self.frames: list[Frame] = []
        self.calls: list[tuple[str, str, Any]] = []
        self.answers: dict[tuple[str, str], tuple[int, Any]] = {}
        self.accepting = True
        self.echoing = True
        self.jobs: list[Frame] = []
        self.more: str | None = None
        self.messages: list[Frame] = []
        self.seq = 0
        self._socket: WebSocketRoute | None = None
        page.route_web_socket(lambda url: url.endswith("/ws"), self._connected)
        calls = re.compile(re.escape(address) + r"(tokens$|sessions/|jobs[/?])")
        page.route(calls, self._called)

    @property
    def cursor(self) -> str:
        return f"{self.seq}-{self.seq * 11}"

    def sign_in(self, fragment: str = "#code=good") -> None:
        """Opens the page by a link, and waits until it follows the session."""
        self.page.goto(self.address + fragment)
        self.wait(lambda: self.sent("subscribe") != [])

    def emit(self, type_: str, data: Frame, *, job_id: str | None = None, rev: int = 0) -> None:
        """A lifecycle event."""
        self.seq += 1
        event: Frame = {"id": self.cursor, "type": type_, "session_id": SESSION, "time": TIME}
        if job_id:
            event |= {"job_id": job_id, "rev": rev}
        self.send(event | {"data": data})

    def job(self, status: str, rev: int = 1, job_id: str = "j1", **fields: Any) -> None:
        """A lifecycle event of a job; with rev 1 it is born."""
        born: Frame = {
            "id": job_id,
            "session_id": SESSION,
            "task": "run_tests",
            "title": "Run tests",
        }
        born |= {"attempt": 1, "max_attempts": 3, "log_lines": 0, "created_at": now(), "rev": 1}
        data = (born if rev == 1 else {}) | {"status": status} | fields
        self.emit(f"job.{status}", data, job_id=job_id, rev=rev)

    def progress(self, rev: int, job_id: str = "j1", **progress: Any) -> None:
        event: Frame = {"type": "job.progress", "session_id": SESSION, "job_id": job_id, "rev": rev}
        self.send(event | {"time": now(), "data": {"progress": progress}})

    def log(self, line: int, *texts: str, job_id: str = "j1") -> None:
        lines = [{"stream": "stdout", "text": text} for text in texts]
        event: Frame = {"type": "job.log", "line": line, "session_id": SESSION, "job_id": job_id}
        self.send(event | {"time": now(), "data": {"lines": lines}})

    def say(self, text: str, message_id: str = "m1", role: str = "agent") -> None:
        data = {"message_id": message_id, "role": role, "text": text, "job_id": None}
        self.emit(f"message.{role}", data)

    def send(self, frame: Frame) -> None:
        assert self._socket is not None, "the page is not connected"
        self._socket.send(json.dumps(frame))

    def drop(self, code: int = 4009) -> None:
        """Closes the socket. (A fake one cannot be cut, so it is closed with a code.)"""
        assert self._socket is not None, "the page is not connected"
        self._socket.close(code=code)
        self._socket = None

    def sent(self, type_: str) -> list[Frame]:
        return [frame for frame in self.frames if frame["type"] == type_]

    def wait(self, condition: Callable[[], bool], seconds: float = 10) -> None:
        """Lets the page work until a condition holds. Raises AssertionError when it never does."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "the condition never came true"
            self.page.wait_for_timeout(10)

    def _connected(self, socket: WebSocketRoute) -> None:
        if not self.accepting:
            socket.close(code=4009)
            return
        self._socket = socket
        socket.on_message(self._received)

    def _received(self, message: str | bytes) -> None:
        frame = json.loads(message)
        self.frames.append(frame)
        if frame["type"] == "subscribe":
            resumed = "after" in frame
            cursor = frame["after"] if resumed else self.cursor
            hello: Frame = {"type": "hello", "ref": frame["ref"], "session_id": frame["session_id"]}
            hello |= {"cursor": cursor, "resumed": resumed, "more": self.more, "time": now()}
            self.send(hello | {"jobs": self.jobs, "messages": [] if resumed else self.messages})
        elif "ref" in frame and frame["type"] in ("cancel", "input", "auth"):
            self.send({"type": "ok", "ref": frame["ref"]})

    def _called(self, route: Route) -> None:
        request = route.request
        path = request.url.removeprefix(self.address).partition("?")[0]
        body: Any = request.post_data_json if request.post_data else None
        self.calls.append((request.method, path, body))
        status, answer = self.answers.get((request.method, path), (0, None))
        if status and isinstance(answer, str):
            route.fulfill(status=status, body=answer, content_type="text/plain; charset=utf-8")
        elif status:
            route.fulfill(status=status, json=answer)
        elif path == "tokens":
            later = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(time.time() + 3600))
            route.fulfill(json={"token": "tok", "expires_at": later, "sessions": ["chat:*"]})
        elif path.endswith("/messages"):
            route.fulfill(status=202, json={"message_id": body["message_id"]})
            if self.echoing:
                self.say(body["text"], body["message_id"], "user")
        else:
            route.fulfill(status=404, json={"title": "Not found", "status": 404})


def now() -> str:
    """The present in the hub's format."""
    seconds = time.time()
    millis = int(seconds * 1000) % 1000
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{millis:03d}Z"
