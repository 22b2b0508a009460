"""The shop's front door: routes, a rate limit per client, and a cache of answers."""

import time
from collections.abc import Callable
from typing import Any

Handler = Callable[..., Any]


class RateLimit:
    """At most `limit` requests of one client in each `window` seconds."""

    def __init__(self, limit: int, window: float) -> None:
        self.limit = limit
        self.window = window
        self._seen: dict[str, tuple[float, int]] = {}

    def allows(self, client: str) -> bool:
        now = time.monotonic()
        started, count = self._seen.get(client, (now, 0))
        if now - started >= self.window:
            started, count = now, 0
        if count > self.limit:
            return False
        self._seen[client] = (started, count + 1)
        return True


class Api:
    """Answers `(status, body)` for a method and a path; GETs are kept for `fresh` seconds."""

    def __init__(self, *, limit: int = 100, window: float = 60.0, fresh: float = 0.0) -> None:
        self.rate = RateLimit(limit, window)
        self.fresh = fresh
        self._routes: dict[tuple[str, str], Handler] = {}
        self._kept: dict[str, tuple[float, Any]] = {}

    def route(self, method: str, path: str) -> Callable[[Handler], Handler]:
        def add(handler: Handler) -> Handler:
            self._routes[method, path] = handler
            return handler

        return add

    def request(self, method: str, path: str, client: str = "-", **body: Any) -> tuple[int, Any]:
        if not self.rate.allows(client):
            return 429, {"error": "too many requests"}
        kept_at, kept = self._kept.get(path, (float("-inf"), None))
        if method == "GET" and time.monotonic() - kept_at < self.fresh:
            return 200, kept
        handler = self._routes.get((method, path))
        if handler is None:
            known = any(path == other for _, other in self._routes)
            return (405, {"error": "method"}) if known else (404, {"error": "no such page"})
        try:
            answer = handler(**body)
        except (KeyError, TypeError, ValueError) as error:
            return 400, {"error": str(error)}
        if method == "GET" and self.fresh:
            self._kept[path] = (time.monotonic(), answer)
        return 200, answer
