"""What is published works away from the checkout, and with the oldest releases it allows."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import tarfile
import tomllib
from email import message_from_bytes
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import httpx2
import pytest

from tests.packaging.conftest import CHECKOUT, Built, new_venv, uv

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

LINK = re.compile(r"(http://127\.0\.0\.1:\d+)/#code=(\S+)")
TASKS = '''
from worker import Context, task


@task
async def count(ctx: Context, to: int = 3) -> dict[str, int]:
    """Counts."""
    for n in range(1, to + 1):
        await ctx.progress(current=n, total=to)
    return {"counted": to}
'''


def contents(wheel: Path) -> dict[str, bytes]:
    with ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_wheel_holds_packages_scripts_and_page(built: Built) -> None:
    found = contents(built.wheel)
    assert {"hub/py.typed", "worker/py.typed", "hub/lua/claim.lua"} <= found.keys()
    assert {name.split("/")[0].split("-")[0] for name in found} == {"hub", "worker", "jobcast"}
    page = {f"hub/_web/{path.relative_to(CHECKOUT / 'web')}" for path in web_files()}
    assert page <= found.keys()
    assert page >= {"hub/_web/index.html", "hub/_web/jobcast.js", "hub/_web/vendor/marked.js"}
    [metadata] = [body for name, body in found.items() if name.endswith("/METADATA")]
    about = message_from_bytes(metadata)
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    assert (about["Name"], about["Version"]) == ("jobcast", project["version"])
    assert set(about.get_all("Provides-Extra", [])) == project["optional-dependencies"].keys()
    assert any(name.endswith("licenses/LICENSE") for name in found)


def web_files() -> list[Path]:
    return [path for path in (CHECKOUT / "web").rglob("*") if path.is_file()]


def test_the_sdist_makes_the_same_wheel(built: Built, tmp_path: Path) -> None:
    direct = tmp_path / "direct"
    uv("build", "--wheel", "--out-dir", direct, CHECKOUT)
    [wheel] = direct.glob("*.whl")
    ours, theirs = contents(built.wheel), contents(wheel)
    # Sums and names only, so that a difference is readable.
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if ours[name] != theirs[name]] == []


def test_the_sdist_can_be_tested(built: Built) -> None:
    with tarfile.open(built.sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"Makefile", "tests/conftest.py", "jobcast.toml", "examples/report.py"} <= names
    assert not [name for name in names if "__pycache__" in name or name.startswith(".jobcast")]


async def test_the_wheel_runs_a_job_away_from_the_checkout(built: Built, tmp_path: Path) -> None:
    python = await asyncio.to_thread(new_venv, tmp_path / "venv")
    await asyncio.to_thread(uv, "pip", "install", "--python", python, built.wheel)
    home = tmp_path / "home"
    home.mkdir()
    (home / "tasks.py").write_text(TASKS)
    dev = await asyncio.create_subprocess_exec(
        *(python.with_name("jobcast"), "dev", "tasks.py", "--port", "0"),
        cwd=home,
        env={name: value for name, value in os.environ.items() if name in ("PATH", "HOME")},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        address, code = await link_of(dev)
        await converse(address, code)
        dev.send_signal(signal.SIGINT)
        async with asyncio.timeout(40):
            await dev.communicate()
        assert dev.returncode == 0
    finally:
        if dev.returncode is None:
            dev.kill()
            await dev.communicate()


async def link_of(dev: asyncio.subprocess.Process) -> tuple[str, str]:
    assert dev.stdout is not None
    said: list[str] = []
    async with asyncio.timeout(60):
        while line := (await dev.stdout.readline()).decode():
            said.append(line)
            if match := LINK.search(line):
                return match[1], match[2]
    raise AssertionError(f"jobcast dev printed no link:\n{''.join(said)}")


async def converse(address: str, code: str) -> None:
    """What a browser does: page, assets, sign-in, a job, its end."""
    async with httpx2.AsyncClient(base_url=address, timeout=40) as browser:
        page = (await browser.get("/")).text
        assets = re.findall(r'(?:src|href)="(assets/[^"]+)"', page)
        assert assets
        for asset in assets:
            assert (await browser.get(f"/{asset}")).status_code == 200, asset
        signed_in = (await browser.post("/tokens", json={"code": code})).json()
        browser.headers["Authorization"] = f"Bearer {signed_in['token']}"
        wanted: dict[str, Any] = {"task": "count", "params": {"to": 5}, "session_id": "chat:main"}
        job_id = (await browser.post("/jobs", json=wanted)).json()["job_id"]
        job = (await browser.get(f"/jobs/{job_id}?wait=30")).json()
        assert (job["status"], job["result"]) == ("completed", {"counted": 5})


def test_types_are_found_in_the_wheel(built: Built, tmp_path: Path) -> None:
    """mypy, run by a stranger, reads our annotations."""
    site = tmp_path / "site"
    with ZipFile(built.wheel) as archive:
        archive.extractall(site)
    (tmp_path / "user.py").write_text(
        "from hub.client import Client\nfrom worker import Context, task\n"
        "@task\nasync def t(ctx: Context) -> None:\n    await ctx.progress('no number')\n"
        "reveal_type(Client)\n"
    )
    done = subprocess.run(
        [
            sys.executable,
            "-P",
            "-m",
            "mypy",
            "--strict",
            "--cache-dir",
            tmp_path / "cache",
            "user.py",
        ],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    errors = [line for line in done.stdout.splitlines() if "error:" in line]
    assert len(errors) == 1, done.stdout + done.stderr
    assert "user.py:5" in errors[0]
    assert "arg-type" in errors[0]


def test_the_oldest_releases_allowed_are_enough(built: Built, tmp_path: Path) -> None:
    """Each dependency in the lowest version that pyproject.toml allows passes the fast tests of
    what uses it most; the tools that test are as new as goes with them."""
    with tarfile.open(built.sdist) as archive:
        archive.extractall(tmp_path / "source", filter="data")
    [root] = (tmp_path / "source").iterdir()
    lowest = tmp_path / "lowest.txt"
    python = new_venv(tmp_path / "venv")
    ours = ("--python", python, "--quiet")
    resolve = ("pip", "compile", "--resolution", "lowest-direct", "--output-file", lowest)
    uv(*resolve, *ours, root / "pyproject.toml")
    pinned = {line for line in lowest.read_text().splitlines() if "==" in line}
    uv("pip", "install", *ours, "--requirement", lowest, built.wheel, *TOOLS)
    assert pinned <= set(uv("pip", "freeze", "--python", python).splitlines())
    done = subprocess.run(
        [python, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-m", "not slow", *TESTS],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"with {sorted(pinned)}:\n{done.stdout[-6000:]}"


TOOLS = (
    *("pytest", "pytest-asyncio", "pytest-timeout", "hypothesis"),
    *("httpx2", "standardwebhooks", "trustme", "fastapi"),
)
#: What touches every dependency: schemas, decoding, JWTs, Redis, HTTP, WebSockets, the command.
TESTS = (
    "tests/unit/test_answers.py",
    "tests/unit/test_jobs.py",
    "tests/unit/test_page.py",
    "tests/unit/test_toml_tasks.py",
    "tests/integration/store/test_endings.py",
    "tests/integration/store/test_repeats.py",
    "tests/integration/api_jobs",
    "tests/integration/test_api_operators.py",
    "tests/integration/test_api_tokens.py",
    "tests/integration/websocket",
    "-k",
    "not slow_client and not lags",
    "tests/integration/embedding",
)
