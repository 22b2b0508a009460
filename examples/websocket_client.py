"""Follows a session over a WebSocket, without Jobcast's client: all there is to the protocol.

pip install websockets
export JOBCAST_TOKEN=$(jobcast token --sub me --session chat:main)
export JOBCAST_URL=http://127.0.0.1:8080
python examples/websocket_client.py chat:main
"""

import asyncio
import json
import os
import random
import sys
import urllib.request
from typing import Any
from urllib.parse import quote, urlencode

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

HUB = os.environ.get("JOBCAST_URL", "http://127.0.0.1:8080").rstrip("/")
HEADERS = {"Authorization": f"Bearer {os.environ.get('JOBCAST_TOKEN', '')}"}
# The hub speaks every 20 s: silence means that nobody is there any more.
SILENCE = 45.0


class Session:
    """What is known of a session: its jobs, and how far it was read."""

    def __init__(self, session_id: str) -> None:
        self.id = session_id
        self.cursor: str | None = None
        self.jobs: dict[str, dict[str, Any]] = {}
        self.failures = 0
        self.come_back_after: float | None = None
        self.asking = False

    async def follow(self) -> None:
        """Follows for ever, whatever breaks; returns when coming back is no use."""
        while True:
            self.come_back_after = None
            try:
                await self.connection()
            except ConnectionClosed as closed:
                code = closed.rcvd.code if closed.rcvd else 1006
                if 4400 <= code < 4500:
                    sys.exit(f"refused: {code} {closed.rcvd.reason if closed.rcvd else ''}")
            except (OSError, TimeoutError, InvalidHandshake) as error:
                print(f"no connection: {error}", file=sys.stderr)
            self.failures += 1
            wait = random.uniform(0, min(20.0, 0.5 * 2**self.failures))
            await asyncio.sleep(self.come_back_after or wait)

    async def connection(self) -> None:
        """One connection, from its start to its end."""
        after = "" if self.cursor is None else "?" + urlencode({"after": self.cursor})
        url = f"ws{HUB.removeprefix('http')}/ws/{quote(self.id, safe='')}{after}"
        async with connect(url, additional_headers=HEADERS) as socket:
            self.asking = False
            while True:
                async with asyncio.timeout(SILENCE):
                    frame = json.loads(await socket.recv())
                await self.take(frame, socket)

    async def take(self, frame: dict[str, Any], socket: ClientConnection) -> None:
        """One frame."""
        kind = frame["type"]
        if kind == "goodbye":
            self.come_back_after = frame["reconnect_after"]
        elif kind == "hello":
            # Resumed: all since the cursor follows. Not resumed: this is the whole picture.
            if not frame["resumed"]:
                self.jobs.clear()
            self.cursor, self.failures, self.asking = frame["cursor"], 0, False
            for job in frame["jobs"]:
                self.put(job["id"], job["rev"], job)
        elif kind == "heartbeat":
            # It comes after all that it covers: with another cursor, something was lost.
            if frame["cursors"].get(self.id, self.cursor) != self.cursor and not self.asking:
                self.asking = True
                again = {"type": "subscribe", "session_id": self.id, "after": self.cursor}
                await socket.send(json.dumps(again))
        elif kind == "job.log":
            for line in frame["data"]["lines"]:
                print(frame["job_id"], "|", line["text"])
        elif "rev" in frame:
            job_id = frame["job_id"]
            if job_id not in self.jobs and frame["rev"] != 1:
                job = await asyncio.to_thread(fetch, job_id)
                self.put(job_id, job["rev"], job)
            self.put(job_id, frame["rev"], frame["data"])
        # What comes between that question and its answer will come again after it.
        if "id" in frame and not self.asking:
            self.cursor = frame["id"]

    def put(self, job_id: str, rev: int, data: dict[str, Any]) -> None:
        """The whole reducer: what is not newer than the job we hold is old news."""
        job = self.jobs.setdefault(job_id, {"rev": 0})
        if rev > job["rev"]:
            job.update(data, rev=rev)
            progress = job.get("progress") or {}
            percent = progress.get("percent")
            how_far = [] if percent is None else [f"{percent:g} %"]
            print(job_id, job["status"], *how_far, progress.get("message") or "", flush=True)


def fetch(job_id: str) -> Any:
    """A job that was never told of whole."""
    request = urllib.request.Request(f"{HUB}/jobs/{quote(job_id, safe='')}", headers=HEADERS)
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)


if __name__ == "__main__":
    asyncio.run(Session(sys.argv[1]).follow())
