"""The warden: the worker's tiny parent process (first the names that others need)."""

from __future__ import annotations

import sys
from pathlib import Path

FD_VARIABLE = "JOBCAST_WARDEN_FD"
MAX_MESSAGE = 4 * 1024 * 1024


def launcher(*args: str) -> list[str]:
    """The command line of a warden: a Python of its own that imports next to nothing."""
    root = str(Path(__file__).resolve().parent.parent)
    code = "import sys; sys.path.append(sys.argv[1]); from worker.warden import main; main()"
    return [sys.executable, "-I", "-S", "-c", code, root, *args]
