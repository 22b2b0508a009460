"""A process on one core: what it says, and what it costs."""

from __future__ import annotations

import os
import re
import select
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from bench.machine import SERVER_CORE, WORKER_CORE

#: The server under test has one core for itself; everything else shares the other.
SERVER: Final = SERVER_CORE
REST: Final = WORKER_CORE
PATIENCE: Final = 120.0


class Failed(RuntimeError):
    """A process did not do what it should have."""


class Process:
    """Started on a core; killed by `close`. Its errors go to `log`."""

    def __init__(
        self,
        core: int,
        argv: Sequence[Any],
        log: Path,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.name = Path(str(argv[0])).name
        self._log = log
        with log.open("ab") as errors:
            self._popen = subprocess.Popen(
                ["taskset", "-c", str(core), *map(str, argv)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**os.environ, **(env or {})},
            )
        self.pid = self._popen.pid
        self._said = b""

    def line(self, patience: float = PATIENCE) -> str:
        """The next line that it writes. Raises Failed when it ends, or says nothing for so many
        seconds."""
        assert self._popen.stdout is not None
        fd = self._popen.stdout.fileno()
        until = time.monotonic() + patience
        while b"\n" not in self._said:
            if not select.select([fd], [], [], max(0.0, until - time.monotonic()))[0]:
                raise Failed(f"{self.name} said nothing for {patience:.0f} s")
            more = os.read(fd, 65_536)
            if not more:
                tail = self._log.read_text(errors="replace").strip()[-400:]
                raise Failed(f"{self.name} has ended early: {tail}")
            self._said += more
        line, _, self._said = self._said.partition(b"\n")
        return line.decode().strip()

    def tell(self, data: bytes) -> None:
        """Writes to its stdin."""
        assert self._popen.stdin is not None
        self._popen.stdin.write(data)
        self._popen.stdin.flush()

    def cpu(self) -> float:
        """Seconds of CPU that its threads have used, by the scheduler's own clock."""
        used = 0
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            used += int((task / "schedstat").read_text().split()[0])
        return used / 1e9

    def resident(self) -> int:
        """Bytes of memory that are resident now."""
        return self._status("VmRSS")

    def forget_peak(self) -> None:
        """Has `peak` count from now on."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def peak(self) -> int:
        """The most bytes that were resident."""
        return self._status("VmHWM")

    def _status(self, name: str) -> int:
        status = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(rf"^{name}:\s+(\d+) kB", status, re.MULTILINE)
        return int(found[1]) * 1024 if found else 0

    def close(self) -> None:
        """Ends it."""
        self._popen.kill()
        for pipe in (self._popen.stdin, self._popen.stdout):
            if pipe is not None:
                pipe.close()
        self._popen.wait()
