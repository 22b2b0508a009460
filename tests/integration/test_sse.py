"""Server-Sent Events against a real hub on a real Valkey, read from a raw socket."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from hub.settings import Settings
from tests.conftest import API_KEY, wait_until
from tests.running_hub import Hub, running
from tests.wire import Hands, stuck


@pytest.fixture
def hands(hub: Hub) -> Hands:
    return Hands(hub.services)


class Source:
    """What an EventSource would make of a stream: `(data, id)` pairs, and `retry`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer
        self.status = 0
        self.headers: dict[str, str] = {}
        self.retry = 0
        self.last_id = ""
        self.all: list[dict[str, Any]] = []
        self._buffer = b""

    async def head(self) -> None:
        lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        self.status = int(lines[0].split(" ")[1])
        pairs = (line.partition(":") for line in lines[1:] if line)
        self.headers = {name.lower(): value.strip() for name, _, value in pairs}

    async def _chunk(self) -> bool:
        size = int(await self._reader.readline(), 16)
        self._buffer += (await self._reader.readexactly(size + 2))[:-2]
        return size > 0

    async def event(self) -> tuple[dict[str, Any], str] | None:
        """The next event and its id, None at the end."""
        while True:
            while b"\n\n" not in self._buffer:
                async with asyncio.timeout(60):
                    if not await self._chunk():
                        assert self._buffer == b""
                        return None
            block, _, self._buffer = self._buffer.partition(b"\n\n")
            data, event_id = "", ""
            for line in block.decode().split("\n"):
                name, _, value = line.partition(": ")
                assert name in ("data", "id", "retry"), line
                if name == "data":
                    data += value
                elif name == "id":
                    event_id = self.last_id = value
                else:
                    self.retry = int(value)
            if data:
                self.all.append(json.loads(data))
                return self.all[-1], event_id

    async def until(self, kind: str) -> tuple[dict[str, Any], str]:
        while True:
            found = await self.event()
            assert found is not None, f"ended before {kind}"
            if found[0]["type"] == kind:
                return found

    async def rest(self) -> list[dict[str, Any]]:
        """Everything up to the end."""
        before = len(self.all)
        while await self.event():
            pass
        return self.all[before:]


@asynccontextmanager
async def source(
    hub: Hub, path: str, token: str | None = "", **headers: str
) -> AsyncIterator[Source]:
    host, _, port = hub.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    lines = [f"GET {path} HTTP/1.1", f"Host: {host}:{port}"]
    if token is not None:
        lines.append(f"Authorization: Bearer {token or hub.token()}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    made = Source(reader, writer)
    try:
        async with asyncio.timeout(60):
            await made.head()
        yield made
    finally:
        writer.transport.abort()


async def test_a_session_as_unnamed_events_with_cursors_as_ids(hub: Hub, hands: Hands) -> None:
    async with source(hub, "/sessions/s1/events") as events:
        assert events.status == 200
        assert events.headers["content-type"].startswith("text/event-stream")
        assert events.headers["cache-control"] == "no-store"
        assert events.headers["x-accel-buffering"] == "no"
        assert "content-length" not in events.headers
        hello, event_id = await events.until("hello")
        assert event_id == hello["cursor"] == "0-0"
        assert 1_000 <= events.retry <= 3_000
        job_id = await hands.start()
        await hands.progress(job_id, 10)
        await hands.log(job_id, 1, "x")
        await hands.finish(job_id)
        for kind in ("job.pending", "job.running"):
            event, event_id = await events.until(kind)
            assert event_id == event["id"]
        for kind in ("job.progress", "job.log"):
            assert (await events.until(kind))[1] == ""
        await events.until("job.completed")


async def test_a_resume_by_header_goes_before_one_by_address(hub: Hub, hands: Hands) -> None:
    await hands.queue()
    await hands.queue()
    async with source(hub, "/sessions/s1/events?after=0-0") as events:
        assert (await events.until("hello"))[0]["resumed"]
        _, first = await events.until("job.pending")
    async with source(hub, "/sessions/s1/events?after=0-0", Last_Event_ID=first) as events:
        hello, _ = await events.until("hello")
        assert (hello["resumed"], hello["cursor"]) == (True, first)
        assert (await events.until("job.pending"))[1].startswith("2-")
    async with source(hub, "/sessions/s1/events", Last_Event_ID="nonsense") as events:
        assert not (await events.until("hello"))[0]["resumed"]


async def test_heartbeats_are_data_without_an_id(settings: Settings) -> None:
    async with running(dataclasses.replace(settings, sse_heartbeat=0.1), API_KEY) as hub:
        await Hands(hub.services).queue()
        async with source(hub, "/sessions/s1/events") as events:
            hello, _ = await events.until("hello")
            beat, event_id = await events.until("heartbeat")
            assert event_id == ""
            assert beat["cursors"] == {"s1": hello["cursor"]}


@pytest.mark.parametrize(
    ("path", "token", "code"),
    [
        ("/sessions/s1/events", "nonsense", 4401),
        ("/sessions/s1/events", None, 4401),
        (f"/sessions/s1/events?token={API_KEY}", None, 4401),
        ("/sessions/s2/events", "", 4403),
    ],
)
async def test_refusals_have_status_200_and_a_goodbye(
    hub: Hub, path: str, token: str | None, code: int
) -> None:
    async with source(hub, path, token) as events:
        assert events.status == 200
        assert await events.rest() == [{"type": "goodbye", "code": code, "reconnect_after": None}]
        assert events.retry == 60_000


async def test_a_token_may_be_in_the_address(hub: Hub) -> None:
    async with source(hub, f"/sessions/s1/events?token={hub.token()}", None) as events:
        await events.until("hello")


async def test_too_many_are_sent_away_for_a_while(settings: Settings) -> None:
    tight = dataclasses.replace(settings, connections_per_session=1)
    async with running(tight, API_KEY) as hub, source(hub, "/sessions/s1/events") as events:
        await events.until("hello")
        async with source(hub, "/sessions/s1/events") as second:
            assert second.status == 200
            [goodbye] = await second.rest()
            assert (goodbye["type"], goodbye["code"]) == ("goodbye", 4010)
            assert second.retry == pytest.approx(goodbye["reconnect_after"] * 1000, abs=1)


async def test_an_expired_token_and_a_deleted_session_end_a_stream(settings: Settings) -> None:
    async with running(dataclasses.replace(settings, sse_heartbeat=0.2), API_KEY) as hub:
        await Hands(hub.services).queue()
        async with (
            source(hub, "/sessions/s1/events", hub.token(ttl=1)) as short,
            source(hub, "/sessions/s1/events") as long,
        ):
            assert (await short.rest())[-1]["code"] == 4401
            await long.until("hello")
            await hub.client.delete("/sessions/s1")
            assert (await long.rest())[-1]["code"] == 4410


async def test_a_drain_ends_streams_and_says_when_to_come_back(hub: Hub) -> None:
    async with source(hub, "/sessions/s1/events") as events:
        await events.until("hello")
        await hub.services.drain()
        goodbye = (await events.rest())[-1]
        assert (goodbye["type"], goodbye["code"]) == ("goodbye", 1001)
        assert goodbye["reconnect_after"] > 0


async def test_a_client_that_vanishes_leaves_nothing(hub: Hub) -> None:
    async with source(hub, "/sessions/s1/events") as events:
        await events.until("hello")

    async def gone() -> bool:
        return not len(hub.services.streams) and not hub.services.fanout.subscribers

    await wait_until(gone, "the end of the stream")


async def test_a_slow_reader_lags_and_has_every_lifecycle_event_in_the_end(
    settings: Settings,
) -> None:
    narrow = dataclasses.replace(settings, unsent_bytes=4_096)
    async with running(narrow, API_KEY) as hub, source(hub, "/sessions/s1/events") as events:
        await events.until("hello")
        hands = Hands(hub.services)
        jobs = await stuck(hub, hands)
        for _ in range(50):
            await hands.queue()
        numbers: list[int] = []
        while len(numbers) < jobs + 50:
            _, event_id = await events.until("job.pending")
            numbers.append(int(event_id.split("-")[0]))
    assert numbers == list(range(1, jobs + 51))
    assert [one["type"] for one in events.all].count("hello") == 1


# ------------------------------------------------------------------ one job


async def test_one_job_until_its_end_and_then_204(hub: Hub, hands: Hands) -> None:
    other = await hands.start()
    job_id = await hands.start()
    async with source(hub, f"/jobs/{job_id}/stream") as events:
        hello, _ = await events.until("hello")
        assert [job["id"] for job in hello["jobs"]] == [job_id]
        await hands.log(other, 1, "not yours")
        await hands.progress(other, 1)
        await hands.log(job_id, 1, "yours")
        await hands.finish(other)
        await hands.finish(job_id, 42)
        rest = await events.rest()
    assert [event["type"] for event in rest] == ["job.log", "job.completed"]
    assert rest[-1]["data"]["result"] == 42
    async with source(hub, f"/jobs/{job_id}/stream", Last_Event_ID=events.last_id) as events:
        assert events.status == 204
    async with source(hub, f"/jobs/{job_id}/stream", Last_Event_ID=hello["cursor"]) as events:
        hello, *rest = await events.rest()
        assert hello["resumed"]
        assert [event["type"] for event in rest] == ["job.completed"]


async def test_a_job_that_has_ended_is_told_once(hub: Hub, hands: Hands) -> None:
    job_id = await hands.start()
    await hands.finish(job_id, "done")
    async with source(hub, f"/jobs/{job_id}/stream") as events:
        [hello] = await events.rest()
        assert hello["jobs"][0]["result"] == "done"
    async with source(hub, f"/jobs/{job_id}/stream", Last_Event_ID=events.last_id) as events:
        assert events.status == 204
    async with source(hub, f"/jobs/{job_id}/stream", Last_Event_ID="1-1") as events:
        [hello] = await events.rest()
        assert (hello["resumed"], hello["jobs"][0]["status"]) == (False, "completed")


async def test_an_unknown_or_foreign_job_is_not_found(hub: Hub, hands: Hands) -> None:
    foreign = await hands.queue("s2")
    for job_id in (foreign, foreign[:-4] + "0000"):
        async with source(hub, f"/jobs/{job_id}/stream") as events:
            assert events.status == 404
    async with source(hub, f"/jobs/{foreign}/stream", "nonsense") as events:
        assert events.status == 200
        assert (await events.rest())[0]["code"] == 4401


async def test_json_with_line_breaks_stays_one_event(hub: Hub, hands: Hands) -> None:
    async with source(hub, "/sessions/s1/events") as events:
        await events.until("hello")
        await hands.queue(params=b'{"a":\r\n"line\\nbreak",\n\n"b":1}')
        event, _ = await events.until("job.pending")
        assert event["data"]["params"] == {"a": "line\nbreak", "b": 1}
