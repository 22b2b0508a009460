"""Node and npm, for the tests of what runs there."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import NoReturn

import pytest

OLDEST_NODE = 20


def node() -> str:
    """The path of Node; where there is none or an older one, tests are skipped, and fail in CI."""
    path = shutil.which("node")
    if path is None:
        missing("no Node here: apt-get install nodejs npm")
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
    if int(said.removeprefix("v").partition(".")[0]) < OLDEST_NODE:
        missing(f"Node is {said.strip()}, and {OLDEST_NODE} is needed")
    return path


def npm(*args: str | Path, cwd: Path) -> str:
    """npm with these arguments: its output. Skips where there is no npm or no registry."""
    node()
    path = shutil.which("npm")
    if path is None:
        missing("no npm here: apt-get install npm")
    quiet = ("--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error")
    done = subprocess.run(
        [path, *args, *quiet], cwd=cwd, capture_output=True, text=True, check=False
    )
    if done.returncode and any(word in done.stderr for word in NETWORK):
        missing(f"npm's registry cannot be reached: {done.stderr[:300]}")
    assert done.returncode == 0, f"npm {args[0]}: {done.stderr}"
    return done.stdout


#: What npm says when it cannot reach its registry.
NETWORK = ("ENOTFOUND", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "EAI_AGAIN", "ENETUNREACH")


def missing(reason: str) -> NoReturn:
    """Skips the test; where CI is set, fails it."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
