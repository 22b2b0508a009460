"""The addresses at which events are pushed."""

from __future__ import annotations

from starlette.routing import BaseRoute, Route, WebSocketRoute

from hub.sse import job_events, session_events
from hub.websocket import endpoint


def push_routes() -> list[BaseRoute]:
    """WebSockets and SSE streams."""
    return [
        WebSocketRoute("/ws", endpoint),
        WebSocketRoute("/ws/{session_id}", endpoint),
        Route("/sessions/{session_id}/events", session_events),
        Route("/jobs/{job_id}/stream", job_events),
    ]
