"""Deliveries a second: the hub on its transports, the hub through ASGI, and the textbook.

    python -m bench.push [--rounds 5] [--subscribers 100 1000 5000] [--events 20]

One session, lifecycle events of about 600 bytes, each going through Redis to every subscriber.
Each round runs all systems one after the other, the server on one core and a client in C (built
with `cc`) on another. "Alone" publishes an event once the last one has arrived everywhere, "ten"
publishes ten at once. Figures are deliveries by second of the server's own CPU time, which other
load on the machine hardly moves; the ratio is the median of ratios within a round. Ends by itself.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import jwt

from hub import keys
from hub.connection import connect
from hub.jobs import NewJob
from hub.scripts import Scripts
from hub.settings import Settings
from hub.store import Store
from worker.valkey import server_binary

HERE = Path(__file__).parent / "push"
SECRET = "a secret for a benchmark, of 32 bytes and more"
SYSTEMS = ("fast", "asgi", "textbook")
SYSTEM_NAMES = {"fast": "hub", "asgi": "hub, ASGI", "textbook": "textbook"}
BURST = 10
Figures = dict[tuple[str, int, str], list[float]]


def cpu_seconds(pid: int) -> float:
    """What a process's main thread has used so far; Linux counts it in nanoseconds."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


async def spawn(core: int, *command: str) -> asyncio.subprocess.Process:
    """Starts a process on one core, and waits for its first line."""
    return await asyncio.create_subprocess_exec(
        *("taskset", "-c", str(core % (os.cpu_count() or 1))),
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )


async def line(process: asyncio.subprocess.Process) -> str:
    """The next line that a process writes. Raises RuntimeError when it has ended."""
    assert process.stdout is not None
    async with asyncio.timeout(120):
        found = (await process.stdout.readline()).decode().strip()
    if not found:
        raise RuntimeError("a process of the benchmark has ended early")
    return found


class Publisher:
    """Makes events: jobs for the hub, the same bytes for the textbook."""

    def __init__(self, redis_url: str) -> None:
        self.redis: Any = connect(redis_url)
        self.store = Store(
            self.redis, Scripts(Settings(redis_url=redis_url, secret=SECRET, port=0))
        )
        self.body = b""
        self.session = ""

    async def publish(self, system: str, count: int) -> None:
        if system == "textbook":
            pipe = self.redis.pipeline(transaction=False)
            for _ in range(count):
                pipe.publish("textbook", self.body)
            await pipe.execute()
            return
        new = NewJob(session_id=self.session, task="work", params=b'{"selector":"tests"}')
        await asyncio.gather(*(self.store.enqueue(new) for _ in range(count)))


async def measure(
    system: str, subscribers: int, events: int, redis_url: str, client: Path, publisher: Publisher
) -> dict[str, float]:
    """Deliveries by CPU second of a fresh server: alone, and in bursts of ten."""
    # Resuming from the beginning of a new session: what is published before the last client is
    # greeted is replayed to it.
    publisher.session = f"bench.{os.urandom(4).hex()}"
    token = jwt.encode(
        {"sub": "b", "sessions": [publisher.session], "scope": "read", "exp": 2**33},
        SECRET,
        "HS256",
    )
    module = HERE / ("textbook.py" if system == "textbook" else "ours.py")
    more = () if system == "textbook" else (SECRET, system)
    server = await spawn(0, sys.executable, str(module), redis_url, *more)
    load = None
    try:
        port = await line(server)
        path = f"/ws/{publisher.session}?after=0-0"
        where = ("127.0.0.1", port, path, token, str(subscribers))
        load = await spawn(1, str(client), *where)
        assert await line(load) == "ready"
        assert load.stdin is not None
        sent, found = 0, {}
        for name, burst in (("warm", 1), ("alone", 1), ("ten", BURST)):
            before = cpu_seconds(server.pid)
            for _ in range(3 if name == "warm" else events):
                await publisher.publish(system, burst)
                sent += burst
                load.stdin.write(b"%d\n" % sent)
                assert await line(load) == "ok"
            used = max(cpu_seconds(server.pid) - before, 0.01)
            found[name] = (events * burst * subscribers) / used
        load.stdin.close()
        if await load.wait():
            raise RuntimeError(f"{system}: events were lost or doubled")
        return found
    finally:
        for process in (server, load):
            if process is not None and process.returncode is None:
                process.kill()
                await process.wait()


async def run(rounds: int, sizes: list[int], events: int, redis_url: str, client: Path) -> Figures:
    """Measures everything."""
    figures: Figures = {}
    publisher = Publisher(redis_url)
    await publisher.store.enqueue(NewJob(session_id="x", task="work"))
    publisher.body = (await publisher.redis.xrange(keys.events("x")))[0][1][b"e"]
    print(f"an event has about {len(publisher.body)} bytes", flush=True)
    for number in range(rounds):
        for size in sizes:
            for system in SYSTEMS:
                found = await measure(system, size, events, redis_url, client, publisher)
                for name in ("alone", "ten"):
                    figures.setdefault((system, size, name), []).append(found[name])
        print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
    await publisher.redis.aclose()
    return figures


def table(figures: Figures, sizes: list[int]) -> None:
    """Prints medians, and ratios to the textbook within a round."""
    print("deliveries by second of the server's CPU time; × the textbook's in the same round")
    for name in ("alone", "ten"):
        print(f"\nevents {name:6}" + "".join(f"{size:>18,} subs" for size in sizes))
        for system in SYSTEMS:
            cells = []
            for size in sizes:
                held, base = figures[system, size, name], figures["textbook", size, name]
                ratio = statistics.median(a / b for a, b in zip(held, base, strict=True))
                cells.append(f"{statistics.median(held):>13,.0f} ({ratio:>5.2f}×)")
            print(f"{SYSTEM_NAMES[system]:13}" + " ".join(f"{cell:>22}" for cell in cells))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--subscribers", type=int, nargs="+", default=[100, 1_000, 5_000])
    parser.add_argument("--events", type=int, default=20)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="jobcast-bench-") as folder:
        client = Path(folder) / "load"
        subprocess.run(["cc", "-O2", "-o", str(client), str(HERE / "load.c")], check=True)
        socket_path = Path(folder) / "valkey.sock"
        valkey = subprocess.Popen(
            [str(server_binary()), "--port", "0", "--unixsocket", socket_path, "--save", ""],
            stdout=subprocess.DEVNULL,
        )
        try:
            while not socket_path.exists():
                time.sleep(0.05)
            redis_url = f"unix://{socket_path}?db=0"
            work = run(args.rounds, args.subscribers, args.events, redis_url, client)
            table(asyncio.run(work), args.subscribers)
        finally:
            valkey.kill()
            valkey.wait()


if __name__ == "__main__":
    main()
