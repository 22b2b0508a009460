"""What every test may use: a Valkey of its own, and the store on it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import redis as redis_sync
from hypothesis import settings as hypothesis_settings
from redis.asyncio import Redis

from hub.connection import connect
from hub.scripts import Scripts
from hub.settings import Settings
from hub.store import Store
from hub.transitions import Transitions
from tests.running_hub import Hub, running
from worker.valkey import server_binary as embedded_binary

# Examples share two cores with servers and browsers: a slow one says nothing about the code.
hypothesis_settings.register_profile("jobcast", deadline=None, print_blob=True)
hypothesis_settings.load_profile("jobcast")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts what it puts in the background like that, and every program would inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)

SECRET = "a secret for tests, of 32 bytes and more"
API_KEY = "test-key-0123456789abcdef"


@dataclass
class Server:
    """A Valkey (or Redis) server process on a Unix socket and a loopback port."""

    binary: str
    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None
    #: What it finds in its environment besides what is there.
    environment: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._client = redis_sync.Redis(port=self.port)

    def empty(self) -> None:
        """Forgets all keys."""
        self._client.flushall()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self, *options: str) -> None:
        """Starts it (again), on the same data; returns when it answers."""
        self.process = subprocess.Popen(
            [
                self.binary,
                *("--port", str(self.port)),
                *("--bind", "127.0.0.1"),
                *("--dir", str(self.folder)),
                *("--save", ""),
                *("--appendonly", "yes"),
                *("--appendfsync", "everysec"),
                *("--daemonize", "no"),
                *("--logfile", str(self.folder / "server.log")),
                *options,
            ],
            env={**os.environ, **self.environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until = time.monotonic() + 60
        while True:
            try:
                self._client.ping()
            except redis_sync.ConnectionError:
                if self.process.poll() is not None or time.monotonic() > until:
                    log = (self.folder / "server.log").read_text()
                    raise RuntimeError(f"the server did not start:\n{log}") from None
            else:
                break

    def kill(self) -> None:
        """Ends it at once, as a crash would."""
        self._client.close()
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self) -> None:
        """Ends it as an operator would."""
        self._client.close()
        if self.process is not None:
            self.process.terminate()
            self.process.wait()
            self.process = None


def _ports() -> Iterator[int]:
    # Below what systems give to outgoing connections, and for each test process its own: what
    # was free stays so until its server binds it.
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first = 10_000 + number % 20 * 1_000
    return itertools.cycle(range(first, first + 1_000))


_port_numbers = itertools.islice(_ports(), os.getpid() % 1_000, None)


def free_port() -> int:
    """A loopback port that nobody listens on."""
    for port in _port_numbers:
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port
    raise AssertionError("there is always another port")


def server_binary(name: str) -> str:
    """The path of `valkey` (embedded) or `redis` (Debian's); skips where that is missing."""
    if name == "valkey":
        return str(embedded_binary())
    found = shutil.which("redis-server")
    if found is None:
        pytest.skip("redis-server is not installed: apt-get install redis-server")
    return found


def new_server(name: str = "valkey") -> Server:
    """A server that has not been started; the caller ends it and removes its folder."""
    return Server(server_binary(name), Path(tempfile.mkdtemp(prefix="jobcast-")), free_port())


@pytest.fixture(scope="session")
def shared_server() -> Iterator[Server]:
    server = new_server()
    server.start()
    yield server
    server.stop()
    shutil.rmtree(server.folder)


@pytest.fixture
def valkey(shared_server: Server) -> Server:
    """The Valkey of this test process, empty. Do not stop it: see `own_valkey`."""
    shared_server.empty()
    return shared_server


@pytest.fixture
def own_valkey() -> Iterator[Server]:
    """A Valkey that this test alone uses, and may kill and start again."""
    server = new_server()
    server.start()
    yield server
    server.kill()
    shutil.rmtree(server.folder)


@pytest.fixture
async def redis(valkey: Server) -> AsyncIterator[Redis]:
    client = connect(valkey.url)
    yield client
    await client.aclose()


@pytest.fixture
def settings(valkey: Server) -> Settings:
    """Settings on the test's Valkey, with a secret and an API key (`API_KEY`, named `test`)."""
    return Settings(redis_url=valkey.url, secret=SECRET, api_keys=f"test:{API_KEY}", port=0)


@pytest.fixture
def scripts(settings: Settings) -> Scripts:
    return Scripts(settings)


@pytest.fixture
def store(redis: Redis, scripts: Scripts) -> Store:
    return Store(redis, scripts)


@pytest.fixture
def transitions(redis: Redis, scripts: Scripts) -> Transitions:
    return Transitions(redis, scripts)


@pytest.fixture
async def hub(settings: Settings) -> AsyncIterator[Hub]:
    """A hub on the test's Valkey, served by uvicorn in this loop: `.url`, `.client` (which has
    the API key), `.token(...)`, `.services`."""
    async with running(settings, API_KEY) as hub:
        yield hub


async def wait_until(
    condition: Callable[[], Awaitable[bool]], what: str, timeout: float = 60.0
) -> None:
    """Returns once `condition` holds; fails the test, saying `what`, when it does not in time.
    For conditions that no event announces (a process gone, a key expired)."""
    async with asyncio.timeout(timeout):
        try:
            while not await condition():
                await asyncio.get_running_loop().run_in_executor(None, _breathe)
        except TimeoutError:
            raise AssertionError(f"never became true: {what}") from None


def _breathe() -> None:
    time.sleep(0.02)
