"""How fast jobs are queued and run, beside other queues of Python, on one server, in one run.

    python -m bench.jobs [--rounds 5] [--only jobcast,saq] [--skip-slow]

Every round measures each system once, one after the other, so that what else the machine does
falls on all of them alike; the table shows medians, and the median of the ratios to Jobcast in
the same round. See bench/README.md for what is measured, and how.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import redis

from bench import effects
from bench.machine import (
    ROOT,
    SERVER_CORE,
    WORKER_CORE,
    cpu_of,
    kill,
    peers_python,
    pinned,
    process,
    server,
)
from worker.valkey import server_binary

WARM_UP = 500
PACE, PACED = 100.0, 500
IDLE_SETTLE, IDLE_SECONDS = 4.0, 20.0
RECOVERY_SECONDS = 75.0
PATIENCE = 60.0
#: Database 0 is what a client takes that was told of none.
OWN_DATABASES = 1


@dataclass(frozen=True)
class System:
    """One system: `jobs` no-ops are run; `worker` starts its worker."""

    name: str
    module: str
    jobs: int
    worker: tuple[str, ...]

    @property
    def path(self) -> str:
        return f"bench.systems.{self.module}"


_ONE_OF_32 = ("--workers", "1", "--max-async-tasks", "32")

SYSTEMS = [
    System(
        "Jobcast",
        "jobcast",
        5_000,
        ("jobcast", "worker", "bench.systems.jobcast", "--concurrency", "32"),
    ),
    System(
        "taskiq (list, no results)",
        "taskiq_list",
        5_000,
        ("taskiq", "worker", "bench.systems.taskiq_list:broker", *_ONE_OF_32),
    ),
    System(
        "taskiq (stream, results)",
        "taskiq_stream",
        5_000,
        ("taskiq", "worker", "bench.systems.taskiq_stream:broker", *_ONE_OF_32),
    ),
    System("SAQ", "saq", 5_000, ("saq", "bench.systems.saq.settings")),
    System("streaQ", "streaq", 5_000, ("streaq", "run", "bench.systems.streaq:worker")),
    System("arq", "arq", 1_000, ("arq", "bench.systems.arq.WorkerSettings")),
    System("Dramatiq", "dramatiq", 3_000, ("dramatiq", "bench.systems.dramatiq", "-p1", "-t32")),
    System("RQ", "rq", 200, ("rq", "worker", "--path", ".")),
]


@dataclass
class Figures:
    """What was measured of one system, one entry for each round."""

    run: list[float] = field(default_factory=list)
    single: list[float] = field(default_factory=list)
    batch: list[float] = field(default_factory=list)
    p50: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)
    worker_cpu: list[float] = field(default_factory=list)
    server_cpu: list[float] = field(default_factory=list)
    lost: int = 0
    doubled: int = 0
    idle: float | None = None
    recovery: float | None = None


class Bench:
    """One run of it all."""

    def __init__(self, port: int, folder: Path, python: Path) -> None:
        self._port = port
        self._folder = folder
        self._python = python
        self._redis = redis.Redis(port=port)
        self._files = 0

    # ------------------------------------------------------------------ processes

    def _python_of(self, system: System) -> Path:
        # Not resolved: a venv's interpreter is a link.
        return Path(sys.executable) if system.module == "jobcast" else self._python

    def _env(self, system: System, database: int, path: Path) -> dict[str, str]:
        url = f"redis://127.0.0.1:{self._port}/{database}"
        env = {"JOBCAST_REDIS_URL": url, "BENCH_REDIS_URL": url, effects.VARIABLE: str(path)}
        env["PYTHONPATH"] = str(ROOT)
        if system.module == "rq":
            env["RQ_REDIS_URL"] = url
        return env

    def _effects(self) -> Path:
        self._files += 1
        return self._folder / f"effects{self._files}"

    def client(
        self, system: System, path: Path, *work: str, database: int = 0, core: int = WORKER_CORE
    ) -> float:
        """Has the client do some work; returns how many seconds it took."""
        done = subprocess.run(
            pinned(core, [self._python_of(system), "-m", system.path, *work]),
            cwd=ROOT,
            env={**os.environ, **self._env(system, database, path)},
            stdout=subprocess.PIPE,
            check=True,
            timeout=PATIENCE,
        )
        return float(json.loads(done.stdout.splitlines()[-1])["seconds"])

    @contextlib.contextmanager
    def worker(
        self, system: System, path: Path, database: int = 0
    ) -> Iterator[subprocess.Popen[bytes]]:
        """A worker of the system."""
        command, *args = system.worker
        argv = [self._python_of(system).parent / command, *args]
        if system.module == "rq":
            argv += ["--url", f"redis://127.0.0.1:{self._port}/{database}"]
        env = self._env(system, database, path)
        output = self._folder / f"{system.module}.out"
        with process(pinned(WORKER_CORE, argv), env, output) as started:
            yield started

    def _until(self, ready: Callable[[], bool], seconds: float = PATIENCE) -> bool:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if ready():
                return True
            time.sleep(0.02)
        return False

    def _server_cpu(self) -> float:
        cpu = self._redis.info("cpu")
        return float(cpu["used_cpu_sys"] + cpu["used_cpu_user"])

    def _clear(self) -> None:
        self._redis.flushall()

    # ------------------------------------------------------------------ measures

    def enqueue(self, system: System, figures: Figures) -> None:
        """Queues no-ops one by one, and as many at once as the system likes; nobody runs them."""
        count = min(2_000, system.jobs)
        for work, into in (("single", figures.single), ("batch", figures.batch)):
            self._clear()
            into.append(count / self.client(system, self._effects(), work, str(count)))

    def throughput(self, system: System, figures: Figures) -> None:
        """Queues no-ops, then starts a worker. The first of them warm it up; the rate is that of
        the rest, by the times at which their code started."""
        self._clear()
        path = self._effects()
        warm = WARM_UP if system.jobs >= 2 * WARM_UP else 20
        total = system.jobs + warm
        self.client(system, path, "batch", str(total))
        with self.worker(system, path) as started:
            self._until(lambda: effects.count(path) >= warm)
            begun, worker, server = effects.count(path), cpu_of(started), self._server_cpu()
            self._until(lambda: effects.count(path) >= total)
            worker, server = cpu_of(started) - worker, self._server_cpu() - server
        done = self._read(system, path, total)
        self._account([effect.number for effect in done], total, figures)
        if len(done) > warm:
            took = (done[-1].started - done[warm].started) / 1e9
            figures.run.append((len(done) - warm - 1) / took)
            figures.worker_cpu.append(worker / max(1, len(done) - begun) * 1e6)
            figures.server_cpu.append(server / max(1, len(done) - begun) * 1e6)

    def pickup(self, system: System, figures: Figures) -> None:
        """Queues no-ops at a fixed rate to an idle worker; how long after each was due its code
        started, in ms."""
        self._clear()
        path = self._effects()
        with self.worker(system, path):
            self.client(system, path, "single", "1")
            if not self._until(lambda: effects.count(path) >= 1):
                return
            self.client(system, path, "pace", str(PACED), str(PACE), core=SERVER_CORE)
            self._until(lambda: effects.count(path) >= PACED + 1)
        done = [effect for effect in self._read(system, path, PACED + 1) if effect.due]
        self._account([effect.number for effect in done], PACED, figures)
        late = sorted((effect.started - effect.due) / 1e6 for effect in done)
        if late:
            figures.p50.append(late[len(late) // 2])
            figures.p99.append(late[int(len(late) * 0.99)])

    def _read(self, system: System, path: Path, expected: int) -> list[effects.Effect]:
        done = effects.read(path) if path.exists() else []
        if len(done) < expected:
            said = (self._folder / f"{system.module}.out").read_text().splitlines()
            print(
                f"{system.name}: {len(done)} of {expected}; its worker said:", *said[-8:], sep="\n"
            )
        return done

    @staticmethod
    def _account(numbers: list[int], total: int, figures: Figures) -> None:
        figures.lost += total - len(set(numbers))
        figures.doubled += len(numbers) - len(set(numbers))

    def idle_and_recovery(self, systems: dict[System, Figures]) -> None:
        """All systems at once, each on a database of its own: they do next to nothing. First, what
        idle workers send; then each is killed with a job in hand, while a second one waits."""
        self._clear()
        with contextlib.ExitStack() as stack:
            paths: dict[System, Path] = {}
            first: dict[System, subprocess.Popen[bytes]] = {}
            for database, system in enumerate(systems, OWN_DATABASES):
                paths[system] = self._effects()
                self.client(system, paths[system], "single", "1", database=database)
                first[system] = stack.enter_context(self.worker(system, paths[system], database))
            self._until(partial(_begun, paths.values(), 1))
            time.sleep(IDLE_SETTLE)
            sent = self._commands(IDLE_SECONDS)
            for database, (system, figures) in enumerate(systems.items(), OWN_DATABASES):
                figures.idle = sent.get(database, 0) / IDLE_SECONDS
                self.client(system, paths[system], "hold", "1", database=database)
            self._until(partial(_begun, paths.values(), 2), 10.0)
            for database, system in enumerate(systems, OWN_DATABASES):
                stack.enter_context(self.worker(system, paths[system], database))
            time.sleep(IDLE_SETTLE)
            killed = time.monotonic_ns()
            for started in first.values():
                kill(started)
            self._until(partial(_begun, paths.values(), 3), RECOVERY_SECONDS)
            for system, figures in systems.items():
                done = effects.read(paths[system])
                if len(done) > 2:
                    figures.recovery = (done[2].started - killed) / 1e9

    def _commands(self, seconds: float) -> dict[int, int]:
        """How many commands come in by database, without those that scripts call."""
        counts: dict[int, int] = {}
        with redis.Redis(port=self._port).monitor() as monitor:
            end = threading.Timer(seconds, self._redis.ping)
            until = time.monotonic() + seconds
            end.start()
            for command in monitor.listen():
                if time.monotonic() >= until:
                    break
                if command["client_type"] != "lua":
                    counts[int(command["db"])] = counts.get(int(command["db"]), 0) + 1
        return counts


def _begun(paths: Iterable[Path], count: int) -> bool:
    return all(effects.count(path) >= count for path in paths)


def table(measured: dict[System, Figures]) -> str:
    """The figures as a Markdown table."""
    base = next((f for s, f in measured.items() if s.module == "jobcast"), None)
    head = [
        "system",
        "jobs/s",
        "× Jobcast",
        "CPU µs per job: worker",
        "server",
        "enqueue/s one by one",
        "batched",
        "pickup p50 ms",
        "p99 ms",
        "idle commands/s",
        "recovery s",
        "lost",
        "doubled",
    ]
    rows = [head, ["---", *["---:"] * (len(head) - 1)]]
    for system, f in measured.items():
        ratio = "–"
        if base is not None and len(base.run) == len(f.run) and f.run:
            ratio = f"{statistics.median(a / b for a, b in zip(f.run, base.run, strict=True)):.2f}"
        recovery = "–"
        if f.idle is not None:
            recovery = f"> {RECOVERY_SECONDS:.0f}" if f.recovery is None else f"{f.recovery:.1f}"
        rows.append(
            [
                system.name,
                _median(f.run, "{:,.0f}"),
                ratio,
                _median(f.worker_cpu, "{:,.0f}"),
                _median(f.server_cpu, "{:,.0f}"),
                _median(f.single, "{:,.0f}"),
                _median(f.batch, "{:,.0f}"),
                _median(f.p50, "{:.1f}"),
                _median(f.p99, "{:.1f}"),
                "–" if f.idle is None else f"{f.idle:.1f}",
                recovery,
                str(f.lost),
                str(f.doubled),
            ]
        )
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _median(values: list[float], form: str) -> str:
    return form.format(statistics.median(values)) if values else "–"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="modules of bench/systems, comma-separated")
    parser.add_argument(
        "--measure",
        default="run,enqueue,pickup,idle",
        help="which of run, enqueue, pickup, idle (with recovery)",
    )
    args = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGINT):
        # Whatever was started is ended on the way out.
        signal.signal(number, lambda *_: sys.exit(130))
    only = set(filter(None, args.only.split(",")))
    measures = set(args.measure.split(","))
    systems = [system for system in SYSTEMS if not only or system.module in only]
    measured = {system: Figures() for system in systems}
    with TemporaryDirectory(prefix="jobcast-bench-") as folder, server(server_binary()) as port:
        bench = Bench(port, Path(folder), peers_python())
        version = redis.Redis(port=port).info("server")
        name = version.get("valkey_version") or version["redis_version"]
        print(f"server {name}, Python {re.split(' ', sys.version)[0]}, {os.cpu_count()} cores")
        for number in range(args.rounds):
            for system in systems:
                figures = measured[system]
                if "enqueue" in measures:
                    bench.enqueue(system, figures)
                if "run" in measures:
                    bench.throughput(system, figures)
                if "pickup" in measures:
                    bench.pickup(system, figures)
                print(f"round {number + 1}: {system.name}: {_last(figures)}", flush=True)
        if "idle" in measures:
            bench.idle_and_recovery(measured)
    print(table(measured))


def _last(figures: Figures) -> str:
    said = {
        "jobs/s": figures.run,
        "one by one/s": figures.single,
        "batched/s": figures.batch,
        "µs worker": figures.worker_cpu,
        "µs server": figures.server_cpu,
        "p50": figures.p50,
        "p99": figures.p99,
    }
    return ", ".join(f"{values[-1]:,.1f} {name}" for name, values in said.items() if values)


if __name__ == "__main__":
    main()
