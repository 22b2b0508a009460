"""Calls of the jobs API, checked by their status."""

from __future__ import annotations

from typing import Any

import httpx2

from tests.running_hub import Hub


async def post(
    client: httpx2.AsyncClient, path: str, body: Any, status: int = 202, idem: str | None = None
) -> dict[str, Any]:
    headers = {} if idem is None else {"Idempotency-Key": idem}
    reply = await client.post(path, json=body, headers=headers)
    assert reply.status_code == status, reply.text
    found: dict[str, Any] = reply.json()
    return found


async def get(client: httpx2.AsyncClient, path: str, status: int = 200) -> dict[str, Any]:
    reply = await client.get(path)
    assert reply.status_code == status, reply.text
    found: dict[str, Any] = reply.json()
    return found


async def echo(hub: Hub, session_id: str = "s1", **more: Any) -> dict[str, Any]:
    body = {"task": "echo", "params": {"text": "hi"}, "session_id": session_id, **more}
    job: dict[str, Any] = (await post(hub.client, "/jobs", body))["job"]
    return job


def pointers(problem: dict[str, Any]) -> list[str]:
    return [error["pointer"] for error in problem["errors"]]
