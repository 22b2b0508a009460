"""The whole of Jobcast, as `make run` starts it, in a real browser: the conversation that it was
made for, on the sample project's real tests and deploy script.

Screenshots are kept in test-results/, to be looked at.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.conftest import free_port

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]
SHOTS = ROOT / "test-results"
LINK = re.compile(r"http://127\.0\.0\.1:\d+/#code=\S+")
JOB_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")


class Dev:
    """`jobcast dev` in the repository, on a data directory of its own."""

    def __init__(self, data_dir: Path) -> None:
        argv = [sys.executable, "-P", "-m", "worker.cli", "dev", "--data-dir", str(data_dir)]
        self._process = subprocess.Popen(
            [*argv, "--port", str(free_port())],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "JOBCAST_LEASE": "4", "JOBCAST_WS_HEARTBEAT": "2"},
        )

    def link(self) -> str:
        """A fresh link: the first is printed, the next ones after Enter."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            if found := LINK.search(line):
                return found[0]
        raise AssertionError("jobcast dev ended before it printed a link")

    def kill(self, command: str) -> None:
        """Kills the process of the stack whose command line has `command` in it."""
        for pid in self._children():
            if command in Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " "):
                os.kill(pid, signal.SIGKILL)
                return
        raise AssertionError(f"no {command!r} runs")

    def _children(self) -> list[int]:
        path = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        return [int(pid) for pid in path.read_text().split()]

    def stop(self) -> None:
        self._process.send_signal(signal.SIGINT)
        assert self._process.wait(30) == 0
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    running = Dev(tmp_path_factory.mktemp("dev"))
    yield running
    running.stop()


@pytest.fixture
def chat(page: Page, dev: Dev) -> Chat:
    page.goto(dev.link())
    page.get_by_test_id("new-conversation").click()
    expect(page.get_by_test_id("empty")).to_be_visible()
    return Chat(page)


class Chat:
    """What a person sees and does."""

    def __init__(self, page: Page) -> None:
        self.page = page
        page.set_default_timeout(40_000)
        expect.set_options(timeout=40_000)

    def say(self, text: str) -> None:
        self.page.get_by_test_id("composer").fill(text)
        self.page.keyboard.press("Enter")

    def card(self, title: str) -> Locator:
        return self.page.get_by_test_id("job-card").filter(has_text=title).last

    def agent(self, text: str | re.Pattern[str]) -> Locator:
        return self.page.get_by_test_id("message-agent").filter(has_text=text).last

    def shot(self, name: str) -> None:
        SHOTS.mkdir(exist_ok=True)
        self.page.screenshot(path=SHOTS / f"{name}.png")


def test_the_conversation(chat: Chat) -> None:
    page = chat.page
    chat.say("Run the full test suite")
    card = chat.card("Run tests")
    expect(card).to_have_attribute("data-status", "running")
    job_id = card.get_attribute("data-job-id")
    assert job_id is not None
    assert JOB_ID.fullmatch(job_id)
    expect(chat.agent(job_id)).to_be_visible()
    expect(card).to_contain_text(re.compile(r"[5-9] of 49"))
    expect(card.get_by_role("log")).to_contain_text("tests/test_api.py::test_get PASSED")
    chat.shot("running-light")

    chat.say("Are the tests done?")
    expect(chat.agent(re.compile(r"\d+ of 49"))).to_be_visible()

    page.reload()
    expect(card).to_have_attribute("data-status", "running")
    expect(card).to_contain_text(re.compile(r"[2-4]\d of 49"))
    assert page.get_by_test_id("job-card").count() == 1

    expect(card).to_have_attribute("data-status", "completed")
    done = chat.agent("47 passed, 2 failed")
    expect(done).to_contain_text("test_auth.py::test_login_timeout")
    expect(done).to_contain_text("test_api.py::test_rate_limit")
    expect(done).to_contain_text("?")
    expect(card.locator("[data-part=result]")).to_contain_text("test_login_timeout")
    chat.shot("completed-light")
    chat.say("Yes, look at them")
    expect(chat.agent("SessionExpired")).to_be_visible()

    chat.say("Deploy to staging")
    deploy = chat.card("Deploy")
    expect(deploy).to_have_attribute("data-status", "input_required")
    expect(deploy).to_contain_text("Deploy to staging?")
    assert deploy.get_by_role("log").count() == 0 or not deploy.get_by_role("log").inner_text()
    chat.shot("approval-light")
    page.emulate_media(color_scheme="dark")
    chat.shot("approval-dark")
    page.emulate_media(color_scheme="light")
    chat.say("yes")
    expect(deploy).to_have_attribute("data-status", "completed")
    expect(deploy).to_contain_text("staging")
    chat.shot("deployed-light")
    page.emulate_media(reduced_motion="reduce")
    page.set_viewport_size({"width": 360, "height": 740})
    chat.shot("deployed-360")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_what_is_declined_never_runs(chat: Chat) -> None:
    chat.say("Deploy to staging")
    card = chat.card("Deploy")
    card.get_by_role("button", name="Decline").click()
    expect(card).to_have_attribute("data-status", "cancelled")
    expect(chat.agent("cancelled")).to_be_visible()


def test_stop_it_cancels_and_so_does_the_button(chat: Chat) -> None:
    chat.say("Run the full test suite")
    card = chat.card("Run tests")
    expect(card).to_have_attribute("data-status", "running")
    chat.say("Stop it")
    expect(card).to_have_attribute("data-status", "cancelled")
    card.get_by_role("button", name="Retry").click()
    again = chat.card("Run tests")
    expect(again).to_have_attribute("data-status", "running")
    assert chat.page.get_by_test_id("job-card").count() == 2
    again.get_by_role("button", name="Cancel").click()
    expect(again).to_have_attribute("data-status", "cancelled")
    chat.page.emulate_media(color_scheme="dark")
    chat.shot("cancelled-dark")


@pytest.mark.slow
def test_a_hub_that_is_killed_is_hardly_noticed(chat: Chat, dev: Dev) -> None:
    chat.say("Run the full test suite")
    card = chat.card("Run tests")
    expect(card).to_contain_text(re.compile(r"[3-9] of 49"))
    dev.kill("worker.cli hub")
    # Two digits: the card goes on once the hub is back.
    expect(card).to_contain_text(re.compile(r"[2-4]\d of 49"))
    expect(card).to_have_attribute("data-status", "running")
    chat.say("Stop it")
    expect(card).to_have_attribute("data-status", "cancelled")
    assert chat.page.get_by_test_id("job-card").count() == 1


def test_a_fresh_link_is_needed_once_it_was_used(page: Page, dev: Dev) -> None:
    link = dev.link()
    page.goto(link)
    expect(page.get_by_test_id("composer")).to_be_visible()
    other = page.context.new_page()
    other.goto(link)
    expect(other.get_by_role("alert")).to_contain_text("did not work")
