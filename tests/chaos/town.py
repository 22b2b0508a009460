"""The processes of a chaos run: a Valkey that writes everything to disk before it answers, hubs and
workers, each of which is started again when it is killed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Any

from redis.exceptions import RedisError

from hub import keys
from hub.connection import connect
from tests.chaos.tasks import EFFECTS, MARK
from tests.conftest import API_KEY, SECRET, free_port, wait_until
from tests.liveness import Mark
from worker.child import Child
from worker.proctree import below, scan
from worker.valkey import server_binary

LEASE = 3
KEPT_LINES = 4_000


class Town:
    """`async with Town(folder, workers, hubs)`; returns when everything serves."""

    def __init__(self, folder: Path, workers: int, hubs: int) -> None:
        self.effects = folder / "effects"
        self.mark = Mark()
        self.redis_url = f"redis://127.0.0.1:{free_port()}/0"
        self.hub_urls = [f"http://127.0.0.1:{free_port()}" for _ in range(hubs)]
        self.redis: Any = connect(self.redis_url)
        #: What the processes said: the last lines of it.
        self.lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._children: dict[tuple[str, int], Child] = {}
        self._supervisors: list[asyncio.Task[None]] = []
        env = {
            **{k: v for k, v in os.environ.items() if not k.startswith("JOBCAST_")},
            "JOBCAST_REDIS_URL": self.redis_url,
            "JOBCAST_SECRET": SECRET,
            "JOBCAST_API_KEYS": f"test:{API_KEY}",
            "JOBCAST_LEASE": str(LEASE),
            "JOBCAST_WS_HEARTBEAT": "1",
            # The whole story stays in the streams, for the checker to read.
            "JOBCAST_EVENTS_PER_SESSION": "1000000",
            "JOBCAST_AGENT": "off",
            EFFECTS: str(self.effects),
            MARK: self.mark.text,
            "PYTHONUNBUFFERED": "1",
        }
        data = folder / "valkey"
        data.mkdir()
        port = self.redis_url.rsplit(":", 1)[1].split("/")[0]
        self._add(
            ("valkey", 0),
            [
                *(str(server_binary()), "--port", port, "--bind", "127.0.0.1"),
                *("--dir", str(data), "--save", "", "--appendonly", "yes"),
                *("--appendfsync", "always", "--daemonize", "no", "--loglevel", "warning"),
            ],
            env,
        )
        jobcast = [sys.executable, "-P", "-m", "worker.cli"]
        for number, url in enumerate(self.hub_urls):
            port = url.rsplit(":", 1)[1]
            self._add(("hub", number), [*jobcast, "hub", "--port", port], env)
        for number in range(workers):
            serve = ["worker", "tests.chaos.tasks", "-c", "8", "--name", f"w{number}"]
            self._add(("worker", number), [*jobcast, *serve], env)

    def _add(self, name: tuple[str, int], argv: list[str], env: dict[str, str]) -> None:
        label = f"{name[0]}-{name[1]}"
        self._children[name] = Child(label, argv, env, lambda n, line: self._say(f"{n}: {line}"))

    def _say(self, line: str) -> None:
        self.lines.append(line)

    async def __aenter__(self) -> Town:
        self._supervisors = [asyncio.create_task(child.run()) for child in self._children.values()]
        await wait_until(self._serves, "the town serves")
        for child in self._children.values():
            child.started = True
        return self

    async def _serves(self) -> bool:
        try:
            workers = await self.redis.zcard(keys.WORKERS)
        except (RedisError, OSError):
            return False
        if workers < sum(kind == "worker" for kind, _ in self._children):
            return False
        for url in self.hub_urls:
            try:
                port = int(url.rsplit(":", 1)[1])
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                return False
            writer.close()
        return True

    def kill(self, kind: str, number: int) -> bool:
        """Kills a process at once; False where there was none to kill just now."""
        pid = self._children["worker" if kind == "warden" else kind, number].pid
        if pid is not None and kind == "worker":
            pid = self._real_worker(pid)
        if pid is None:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            return True
        return False

    async def freeze(self, kind: str, number: int, seconds: float) -> None:
        """Stops a process for a while; it knows nothing of that."""
        child = self._children[kind, number]
        pid = child.pid
        if pid is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            try:
                await asyncio.sleep(seconds)
            finally:
                if child.pid == pid:
                    os.kill(pid, signal.SIGCONT)

    @staticmethod
    def _real_worker(warden: int) -> int | None:
        """The process that claims and runs jobs, somewhere below its warden."""
        for proc in below(warden, scan()):
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{proc.pid}/cmdline").read_bytes().split(b"\0")
                if words[1:4] == [b"-P", b"-m", b"worker.serve"]:
                    return proc.pid
        return None

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()
        await self.redis.aclose()

    async def stop(self) -> None:
        """Ends all but Valkey in order, so that Redis can be looked at in peace; then Valkey."""
        for name in ("worker", "hub", "valkey"):
            children = [child for (kind, _), child in self._children.items() if kind == name]
            await asyncio.gather(*(child.stop(15) for child in children))
        for task in self._supervisors:
            task.cancel()
        await asyncio.gather(*self._supervisors, return_exceptions=True)

    async def stop_all_but_valkey(self) -> None:
        """Nothing writes any more."""
        for name in ("worker", "hub"):
            children = [child for (kind, _), child in self._children.items() if kind == name]
            await asyncio.gather(*(child.stop(15) for child in children))
