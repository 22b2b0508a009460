"""The server and the processes that a run needs, each on a core of its own where there are two."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import redis

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / "bench" / ".venv"
_CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
SERVER_CORE, WORKER_CORE = _CORES[0], _CORES[-1]


def peers_python() -> Path:
    """The interpreter of the venv in which the other systems live; it is made here."""
    python = VENV / "bin" / "python"
    wanted = (ROOT / "bench" / "requirements.txt").read_text()
    stamp = VENV / "installed.txt"
    if not stamp.exists() or stamp.read_text() != wanted:
        subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "-r", ROOT / "bench" / "requirements.txt"], check=True)
        stamp.write_text(wanted)
    return python


def pinned(core: int, argv: Sequence[str | Path]) -> list[str]:
    """A command line on one core, where BENCH_PIN is set: steadier on an otherwise idle machine."""
    words = [str(word) for word in argv]
    taskset = shutil.which("taskset") if os.environ.get("BENCH_PIN") and len(_CORES) > 1 else None
    return [taskset, "-c", str(core), *words] if taskset else words


@contextlib.contextmanager
def server(binary: str | Path) -> Iterator[int]:
    """A server with an append-only file, as Jobcast brings it along; gives its port."""
    with tempfile.TemporaryDirectory(prefix="jobcast-bench-") as folder:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            port: int = sock.getsockname()[1]
        options = ["--port", str(port), "--bind", "127.0.0.1", "--dir", folder, "--save", ""]
        options += ["--appendonly", "yes", "--appendfsync", "everysec"]
        with process(pinned(SERVER_CORE, [binary, *options]), {}, Path(folder) / "server.out"):
            client = redis.Redis(port=port)
            for _ in range(200):
                with contextlib.suppress(redis.RedisError):
                    client.ping()
                    break
                time.sleep(0.05)
            client.close()
            yield port


@contextlib.contextmanager
def process(
    argv: Sequence[str], env: Mapping[str, str], output: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a session of its own, all of which is killed at the end."""
    with output.open("ab") as out:
        started = subprocess.Popen(
            argv,
            cwd=ROOT,
            env={**os.environ, **env},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield started
    finally:
        kill(started)


def kill(started: subprocess.Popen[bytes]) -> None:
    """SIGKILL to a process and all of its session's group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(started.pid, signal.SIGKILL)
    started.wait()


def cpu_of(started: subprocess.Popen[bytes]) -> float:
    """Seconds of CPU that a process and its descendants have used (those that live)."""
    parents: dict[int, int] = {}
    ticks: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            parents[int(stat.parent.name)] = int(fields[1])
            ticks[int(stat.parent.name)] = int(fields[11]) + int(fields[12])
    family, found = {started.pid}, 0
    while len(family) > found:
        found = len(family)
        family |= {pid for pid, parent in parents.items() if parent in family}
    return sum(ticks.get(pid, 0) for pid in family) / os.sysconf("SC_CLK_TCK")
