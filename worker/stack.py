"""A whole Jobcast on one machine: an embedded Valkey, a hub and a worker, each a process of its
own under one supervisor. Any of them may be killed and comes back (`jobcast dev`)."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from redis.exceptions import RedisError

from hub import keys
from hub.cli.target import URL_FILE
from hub.connection import connect
from hub.errors import SettingsError
from hub.sign_in import Grant, create_code
from worker.child import Child, OnLine
from worker.data_dir import kept, lock
from worker.valkey import server_binary

#: What the link of `jobcast dev` is worth.
DEV_GRANT: Final = Grant(
    sub="dev", sessions=["chat:*"], scope="read cancel enqueue input approve", ttl=12 * 3_600
)

_START, _LOOK = 20.0, 0.03
#: How long tasks that can be loaded take at most; tasks that cannot are not waited for.
_MENDED = 5.0
_STOP = {"worker": 12.0, "hub": 8.0, "valkey": 8.0}
# sun_path holds 108 bytes on Linux and 104 on macOS.
_SOCKET_PATH_BYTES = 100


class Stack:
    """`async with Stack(...)` starts everything and ends with everything gone.

    `data_dir` keeps the jobs, a secret and an API key from one start to the next, and one stack
    at a time may use it. `port` 0 picks a free one. `tasks` is what the worker serves: a module
    or a toml file. With `reload` the worker starts anew when a source of its tasks changes; where
    they cannot be loaded it waits for that, and the rest is there meanwhile. Raises SettingsError
    where it cannot start, saying what to change."""

    def __init__(
        self,
        data_dir: Path,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        tasks: str | None = None,
        concurrency: int = 8,
        reload: bool = False,
        on_line: OnLine = lambda name, line: None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.data_dir = data_dir.absolute()
        self.host = host
        self.port = port or _free_port(host)
        self._tasks = tasks
        self._concurrency = concurrency
        self._reload = reload
        self._on_line = on_line
        self._environ = dict(os.environ if env is None else env)
        self._children: list[Child] = []
        self._supervisors: list[asyncio.Task[None]] = []
        self._lock: int | None = None
        self._socket_dir: Path | None = None
        self.api_key = ""
        self.redis_url = ""
        self._redis: Any = None

    @property
    def url(self) -> str:
        """The hub's address."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{'127.0.0.1' if host in ('0.0.0.0', '[::]') else host}:{self.port}"

    @property
    def pids(self) -> dict[str, int]:
        """The process id of every child that runs."""
        return {child.name: child.pid for child in self._children if child.pid is not None}

    async def link(self) -> str:
        """A fresh link that signs a browser in, once, within ten minutes."""
        return f"{self.url}/#code={await create_code(self._redis, DEV_GRANT)}"

    async def __aenter__(self) -> Stack:
        try:
            await self._start()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stop()

    # ------------------------------------------------------------------ start

    async def _start(self) -> None:
        self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = await lock(self.data_dir)
        _check_port(self.host, self.port)
        env = self._child_env()
        await self._start_valkey(env)
        self._add(
            "hub",
            self._jobcast(
                "hub", "--host", self.host, "--port", str(self.port), "--log-level", "warning"
            ),
            env,
        )
        serve = ["worker", *([self._tasks] if self._tasks else []), "-c", str(self._concurrency)]
        serve += ["--reload"] if self._reload else []
        self._add("worker", self._jobcast(*serve, "--grace", "3", "--name", "dev"), env)
        await self._wait("hub", self._hub_is_ready)
        await self._wait("worker", self._worker_is_ready, _MENDED if self._reload else None)
        for child in self._children:
            child.started = True
        self._tell_address()

    def _tell_address(self) -> None:
        """Where the commands of `hub.cli` find this stack, as long as it runs."""
        path = self.data_dir / URL_FILE
        path.write_text(self.url + "\n")
        path.chmod(0o600)

    def _child_env(self) -> dict[str, str]:
        env = {k: v for k, v in self._environ.items() if k != "JOBCAST_REDIS_URL"}
        env.setdefault("JOBCAST_SECRET", kept(self.data_dir, "secret"))
        env.setdefault("JOBCAST_API_KEYS", f"dev:{kept(self.data_dir, 'api-key')}")
        env["PYTHONUNBUFFERED"] = "1"
        self.api_key = env["JOBCAST_API_KEYS"].split(",")[0].partition(":")[2]
        return env

    async def _start_valkey(self, env: dict[str, str]) -> None:
        folder = self.data_dir / "valkey"
        folder.mkdir(mode=0o700, exist_ok=True)
        path = self.data_dir / "valkey.sock"
        if len(os.fsencode(path)) > _SOCKET_PATH_BYTES:
            self._socket_dir = Path(tempfile.mkdtemp(prefix="jobcast-"))
            path = self._socket_dir / "valkey.sock"
        argv = [
            str(server_binary()),
            *("--port", "0", "--unixsocket", str(path), "--unixsocketperm", "700"),
            *("--dir", str(folder), "--appendonly", "yes", "--save", ""),
            *("--maxmemory-policy", "noeviction", "--daemonize", "no", "--loglevel", "warning"),
        ]
        self.redis_url = env["JOBCAST_REDIS_URL"] = f"unix://{path}"
        self._redis = connect(self.redis_url)
        # The server holds the lock as well: a data directory is free only once its server ended.
        assert self._lock is not None
        self._add("valkey", argv, env, (self._lock,), self._of_valkey)
        await self._wait("valkey", self._valkey_is_ready)

    def _jobcast(self, *args: str) -> list[str]:
        # -P: a `worker` or `hub` module in the working directory must not hide ours.
        return [sys.executable, "-P", "-m", "worker.cli", *args]

    def _of_valkey(self, name: str, line: str) -> None:
        # Said at nearly every start; it concerns servers whose data fills the memory.
        if "WARNING Memory overcommit" not in line:
            self._on_line(name, line)

    def _add(
        self,
        name: str,
        argv: Sequence[str],
        env: Mapping[str, str],
        fds: tuple[int, ...] = (),
        on_line: OnLine | None = None,
    ) -> None:
        child = Child(name, argv, env, on_line or self._on_line, fds)
        self._children.append(child)
        self._supervisors.append(asyncio.create_task(child.run(), name=f"supervise {name}"))

    async def _wait(
        self, name: str, ready: Callable[[], Any], patience: float | None = None
    ) -> None:
        """Returns when it is ready, or after `patience` seconds, where some are given. Raises
        SettingsError when it is not within 20 s, and as soon as any of the processes has ended."""
        for _ in range(int((patience or _START) / _LOOK)):
            if await ready():
                return
            for child in self._children:
                if child.ended is not None:
                    said = child.last_line or f"it ended with status {child.ended}"
                    raise SettingsError(f"The {child.name} did not start: {said}")
            await asyncio.sleep(_LOOK)
        if patience is None:
            raise SettingsError(f"The {name} did not start within {_START:g} s.")

    async def _valkey_is_ready(self) -> bool:
        try:
            return bool(await self._redis.ping())
        except (RedisError, OSError):
            return False

    async def _hub_is_ready(self) -> bool:
        try:
            reader, writer = await asyncio.open_connection(self._dialled, self.port)
        except OSError:
            return False
        try:
            head = f"GET /readyz HTTP/1.1\r\nHost: {self._dialled}\r\nConnection: close\r\n\r\n"
            writer.write(head.encode())
            return b" 200 " in await reader.readline()
        except OSError:
            return False
        finally:
            writer.close()

    @property
    def _dialled(self) -> str:
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)

    async def _worker_is_ready(self) -> bool:
        try:
            return bool(await self._redis.exists(keys.WORKERS))
        except (RedisError, OSError):
            return False

    # ------------------------------------------------------------------ stop

    async def _stop(self) -> None:
        # The worker first, while there is a server to give its jobs back to.
        for child in reversed(self._children):
            await child.stop(_STOP[child.name])
        for task in self._supervisors:
            task.cancel()
        await asyncio.gather(*self._supervisors, return_exceptions=True)
        if self._redis is not None:
            await self._redis.aclose()
        if self._socket_dir is not None:
            shutil.rmtree(self._socket_dir, ignore_errors=True)
        if self._lock is not None:
            (self.data_dir / URL_FILE).unlink(missing_ok=True)
            (self.data_dir / "valkey.sock").unlink(missing_ok=True)
            (self.data_dir / "lock").unlink(missing_ok=True)
            os.close(self._lock)


def _bind(host: str, port: int) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        bound: int = sock.getsockname()[1]
        return bound


def _free_port(host: str) -> int:
    try:
        return _bind(host, 0)
    except OSError as error:
        raise SettingsError(f"Cannot bind to {host}: {error.strerror}. Check --host.") from None


def _check_port(host: str, port: int) -> None:
    try:
        _bind(host, port)
    except OSError as error:
        raise SettingsError(
            f"Cannot listen on {host}:{port}: {error.strerror}. "
            f"Choose another port: jobcast dev --port {port + 1}, or make run PORT={port + 1}."
        ) from None
