"""Hub processes that share a port: one answers for all, and none is missed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.conftest import API_KEY, SECRET, Server, wait_until
from tests.hub_process import COMMAND, environment, serving
from tests.running_hub import http_client

HEADERS = {"Authorization": f"Bearer {API_KEY}"}


@asynccontextmanager
async def two(valkey: Server) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    async with serving(valkey.url, "--workers", "2") as (process, url):
        yield process, url


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def metric(url: str, name: str, **labels: str) -> float:
    """A metric as whichever process answers has it."""
    async with http_client(url, HEADERS) as client:
        body = (await client.get("/metrics")).text
    return sum(
        sample.value
        for family in text_string_to_metric_families(body)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


async def test_any_process_answers_for_all(valkey: Server) -> None:
    async with two(valkey) as (process, url):

        async def both() -> bool:
            return await metric(url, "jobcast_hub_processes") == 2

        await wait_until(both, "the second process")
        # A process that is scraped knows itself at once, and the others after their next post.
        async with http_client(url) as nobody:
            for _ in range(10):
                assert (await nobody.get("/jobs")).status_code == 401

        async def all_told() -> bool:
            return await metric(url, "jobcast_hub_auth_failures_total", reason="missing") == 10

        await wait_until(all_told, "ten failures in sum")
        [first, second] = children(process.pid)
        os.kill(first, signal.SIGKILL)

        async def another() -> bool:
            # The sum never falls: a successor goes on where the dead one stopped.
            assert await metric(url, "jobcast_hub_auth_failures_total", reason="missing") == 10
            found = children(process.pid)
            return len(found) == 2 and first not in found and second in found

        await wait_until(another, "another process")
        await wait_until(both, "two processes again")
        await all_told()


async def test_a_drain_says_goodbye_on_every_process(valkey: Server) -> None:
    async with two(valkey) as (process, url):
        pids = children(process.pid)
        sockets = [
            await connect(
                f"ws{url.removeprefix('http')}/ws/s{n}", additional_headers=HEADERS, open_timeout=60
            )
            for n in range(16)
        ]
        for socket in sockets:
            assert json.loads(await socket.recv())["type"] == "hello"
        process.send_signal(signal.SIGTERM)
        after = set()
        for socket in sockets:
            goodbye = json.loads(await socket.recv())
            assert (goodbye["type"], goodbye["code"]) == ("goodbye", 1001)
            after.add(goodbye["reconnect_after"])
            with pytest.raises(ConnectionClosed):
                await socket.recv()
            assert socket.close_code == 1001
        # Spread out, so that they do not all come at once.
        assert len(after) > 8
        async with asyncio.timeout(30):
            out, _ = await process.communicate()
        assert process.returncode == 0
        assert b"Traceback" not in out
        assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


async def test_processes_do_not_outlive_their_parent(valkey: Server) -> None:
    async with two(valkey) as (process, _):
        pids = children(process.pid)
        process.kill()
        await process.wait()

        async def gone() -> bool:
            return not any(Path(f"/proc/{pid}").exists() for pid in pids)

        await wait_until(gone, "the end of the processes")


async def test_what_cannot_start_is_not_tried_for_ever(valkey: Server) -> None:
    async with serving(valkey.url) as (_, url):
        port = url.rpartition(":")[2]
        command = [*COMMAND, "hub", "--workers", "2", "--port", port, "--redis-url", valkey.url]
        process = await asyncio.create_subprocess_exec(
            *command, stderr=asyncio.subprocess.PIPE, env=environment(JOBCAST_SECRET=SECRET)
        )
        async with asyncio.timeout(30):
            _, err = await process.communicate()
    assert process.returncode == 2
    assert f"Cannot listen on 127.0.0.1:{port}" in err.decode()
