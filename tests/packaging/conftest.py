"""What is built of the checkout, once for every test process."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
UV = Path(sysconfig.get_path("scripts")) / "uv"


@dataclass(frozen=True)
class Built:
    """The distributions; `folder` is where tests may put what belongs to them."""

    folder: Path
    sdist: Path
    wheel: Path


def uv(*args: str | Path, cwd: Path | None = None) -> str:
    """uv with these arguments: its output. Fails the test with what it said."""
    done = subprocess.run([UV, *args], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"uv {args[0]}: {done.stderr}"
    return done.stdout


def new_venv(folder: Path) -> Path:
    """An empty virtual environment there: its Python."""
    uv("venv", "--python", sys.executable, folder)
    return folder / "bin" / "python"


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """An sdist of the checkout, and a wheel made of that sdist."""
    folder = tmp_path_factory.mktemp("dist")
    uv("build", "--out-dir", folder, CHECKOUT)
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return Built(folder, sdist, wheel)
