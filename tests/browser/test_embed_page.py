"""docs/embed.md as it is written: an app with Jobcast in it, and a card in the app's own page."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.conftest import Server, free_port
from tests.pages import ROOT, blocks_of

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def save(page: str, name: str, folder: Path) -> None:
    """Saves the block of a page that begins with a file's name in a comment."""
    [text] = [
        block.text
        for block in blocks_of(ROOT / page)
        if re.match(rf"(#|<!--) {re.escape(name)}\b", block.text)
    ]
    (folder / name).write_text(text)


@contextmanager
def program(folder: Path, valkey: Server, wanted: str, *command: str) -> Iterator[None]:
    """Runs a program of the environment that these tests run in, from when it has said `wanted`."""
    bin_folder = Path(sys.executable).parent
    environ = {name: value for name, value in os.environ.items() if not name.startswith("JOBCAST")}
    process = subprocess.Popen(
        [bin_folder / command[0], *command[1:]],
        cwd=folder,
        env={**environ, "JOBCAST_REDIS_URL": valkey.url, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    try:
        said = []
        for line in process.stdout:
            said.append(line)
            if wanted in line:
                break
        else:
            raise AssertionError("".join(said))
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)


@pytest.fixture
def app(valkey: Server, tmp_path: Path) -> Iterator[str]:
    save("docs/embed.md", "app.py", tmp_path)
    save("docs/embed.md", "page.html", tmp_path)
    save("docs/tutorial.md", "tasks.py", tmp_path)
    port = str(free_port())
    stop = ("--timeout-graceful-shutdown", "2")
    with ExitStack() as exits:
        serve = program(
            tmp_path, valkey, "Uvicorn running", "uvicorn", "app:app", "--port", port, *stop
        )
        exits.enter_context(serve)
        work = program(
            tmp_path, valkey, "serves release", "jobcast", "worker", "tasks.py", "--grace", "0"
        )
        exits.enter_context(work)
        yield f"http://127.0.0.1:{port}/"


def test_a_job_is_started_followed_and_approved_in_the_page(page: Page, app: str) -> None:
    page.goto(app)
    page.get_by_role("button", name="Release 1.4.0").click()
    card = page.get_by_test_id("job-card")
    expect(card.get_by_test_id("job-status")).to_have_text("Running")
    card.get_by_role("button", name="yes").click(timeout=20_000)
    expect(card.get_by_test_id("job-status")).to_have_text("Completed")
    expect(card).to_contain_text("https://shop.example/releases/1.4.0")
    if shot := os.environ.get("EMBED_SHOT"):
        page.screenshot(path=shot)
