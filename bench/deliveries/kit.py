"""What a run needs: compiled programs, peers, a Valkey, a folder for it all."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from bench.deliveries.events import Connection
from bench.deliveries.figures import Tally
from bench.deliveries.process import REST, Process
from bench.machine import ROOT, VENV
from worker.valkey import server_binary

PROGRAMS: Final = ROOT / "bench" / "push"
NODE_MODULES: Final = ROOT / "bench" / "node_modules"
NCHAN: Final = "ngx_nchan_module.so"
_MODULES: Final = ("/usr/lib/nginx/modules", "/usr/lib64/nginx/modules", "/usr/share/nginx/modules")


class Missing(Exception):
    """A peer is not on this machine; says how to get it."""


@dataclass
class Kit:
    """`folder` goes away with the run."""

    folder: Path
    redis: Connection
    redis_path: Path
    tally: Tally = field(default_factory=Tally)
    _missing: dict[str, str] = field(default_factory=dict)

    @property
    def redis_url(self) -> str:
        return f"unix://{self.redis_path}?db=0"

    def flush(self) -> None:
        """Empties the server."""
        self.redis.ask([b"FLUSHALL\r\n"])

    def compiled(self, name: str) -> Path:
        """A program in C. Raises Missing without a compiler."""
        program = self.folder / name
        if not program.exists():
            compiler = shutil.which("cc") or shutil.which("gcc")
            if compiler is None:
                raise Missing("there is no C compiler: apt install gcc libc6-dev")
            source = PROGRAMS / f"{name}.c"
            argv: list[Any] = [compiler, "-O2", "-D_GNU_SOURCE", "-o", str(program), str(source)]
            subprocess.run(argv, check=True)
        return program

    def peers_python(self) -> Path:
        """The interpreter with what bench/push/requirements.txt names. Raises Missing."""
        python = VENV / "bin" / "python"
        wanted = (PROGRAMS / "requirements.txt").read_text()
        stamp = VENV / "installed-push.txt"
        if not stamp.exists() or stamp.read_text() != wanted:
            if not python.exists():
                subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
            pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            self._install([*pip, "-r", PROGRAMS / "requirements.txt"], VENV.parent, "PyPI")
            stamp.write_text(wanted)
        return python

    def node(self) -> str:
        """Node, with its packages in bench/node_modules. Raises Missing."""
        node, npm = shutil.which("node"), shutil.which("npm")
        if node is None or npm is None:
            raise Missing("there is no Node: apt install nodejs npm")
        wanted = (PROGRAMS / "package.json").read_text()
        stamp = NODE_MODULES / "installed.json"
        if not stamp.exists() or stamp.read_text() != wanted:
            packages = [f"{n}@{v}" for n, v in json.loads(wanted)["dependencies"].items()]
            argv = [npm, "install", "--no-save", "--no-audit", "--no-fund", "--silent"]
            self._install([*argv, "--prefix", str(NODE_MODULES.parent), *packages], ROOT, "npm")
            stamp.write_text(wanted)
        return node

    def nginx(self) -> tuple[str, Path]:
        """nginx and its module nchan. Raises Missing."""
        nginx = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
        found = [Path(folder) / NCHAN for folder in _MODULES if (Path(folder) / NCHAN).exists()]
        if nginx is None or not found:
            raise Missing("nchan is not installed: apt install nginx-light libnginx-mod-nchan")
        return nginx, found[0]

    def nats(self) -> str:
        """nats-server. Raises Missing."""
        found = shutil.which("nats-server") or shutil.which("/usr/sbin/nats-server")
        if found is None:
            raise Missing("there is no nats-server: apt install nats-server")
        return found

    def _install(self, argv: list[Any], folder: Path, source: str) -> None:
        known = self._missing.get(source)
        if known is None:
            done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)
            known = done.stderr.strip()[-300:] or "it failed" if done.returncode else ""
            self._missing[source] = known
        if known:
            raise Missing(f"cannot be installed from {source}: {known}")


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
    return port


def versions(kit: Kit) -> dict[str, str]:
    """What is measured beside, and in which version; for what is installed."""
    found: dict[str, str] = {}
    for name in ("ws", "socket.io"):
        with contextlib.suppress(OSError):
            package = json.loads((NODE_MODULES / name / "package.json").read_text())
            found[name] = package["version"]
    with contextlib.suppress(OSError):
        pip: list[Any] = [VENV / "bin" / "pip", "show", "python-socketio"]
        said = subprocess.run(pip, capture_output=True, text=True, check=False).stdout
        lines = dict(line.partition(": ")[::2] for line in said.splitlines())
        found["python-socketio"] = lines.get("Version", "?")
    for name, option in (("nats-server", "--version"), ("node", "--version"), ("nginx", "-v")):
        program = shutil.which(name) or shutil.which(f"/usr/sbin/{name}")
        if program is not None:
            done = subprocess.run([program, option], capture_output=True, text=True, check=False)
            found[name] = (done.stdout or done.stderr).strip().split(" ")[-1].split("/")[-1]
    return found


@contextlib.contextmanager
def kit() -> Iterator[Kit]:
    """A Valkey and a folder for the time of a run."""
    with tempfile.TemporaryDirectory(prefix="jobcast-bench-") as name:
        folder = Path(name)
        path = folder / "valkey.sock"
        argv = [server_binary(), "--port", "0", "--unixsocket", path, "--save", ""]
        argv += ["--dir", folder, "--logfile", folder / "valkey.log"]
        valkey = Process(REST, argv, folder / "valkey.err")
        try:
            until = time.monotonic() + 20
            while not path.exists() and time.monotonic() < until:
                time.sleep(0.02)
            redis = Connection(socket.AF_UNIX, str(path))
            yield Kit(folder, redis, path)
            redis.close()
        finally:
            valkey.close()
