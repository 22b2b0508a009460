"""The page under axe-core, in every state that has looks of its own, light and dark."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.fake_hub import FakeHub, now

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SHOTS = Path(__file__).parents[2] / "test-results"
ASK = {"id": "q1", "kind": "confirm", "prompt": "Deploy to production?", "options": ["yes", "no"]}
QUESTION = {"id": "q2", "kind": "question", "prompt": "Which tag?"}
FAILURES = [{"test": "tests/test_auth.py::test_login", "message": "assert 401 == 200"}]
RESULT = {"passed": 47, "failed": 2, "failures": FAILURES, "branch": "main"}


def nothing(_: FakeHub) -> None:
    pass


def signed_out(hub: FakeHub) -> None:
    hub.drop(4401)
    expect(hub.page.get_by_test_id("signed-out")).to_be_visible()


def at_work(hub: FakeHub) -> None:
    hub.say("Run the full test suite", "m1", "user")
    hub.say("Started **Run tests**. See `j1`.\n\n| a | b |\n|---|---|\n| 1 | 2 |", "m2")
    hub.job("running", started_at=now())
    hub.progress(2, current=23, total=47, message="Running tests")
    hub.log(1, "\x1b[32mtests/test_api.py PASSED\x1b[0m", "\x1b[2mdim\x1b[0m", "https://ci.test/1")
    hub.job("running", job_id="j2", title="Build", parent_id="j1", started_at=now())
    nightly = {"schedule": "nightly", "due_at": now()}
    hub.job("pending", job_id="j3", title="Sweep", metadata=nightly, parked="limit:task:sweep")
    hub.job("cancelling", job_id="j4", title="Long one", started_at=now())
    expect(hub.page.get_by_test_id("job-card")).to_have_count(4)


def asking(hub: FakeHub) -> None:
    hub.job("input_required", title="Deploy", input=ASK)
    hub.job("input_required", job_id="j2", title="Release", input=QUESTION)
    expect(hub.page.get_by_role("textbox", name="Which tag?")).to_be_visible()


def over(hub: FakeHub) -> None:
    hub.job("completed", finished_at=now(), started_at=now(), result=RESULT, log_lines=0)
    error = {"code": "timeout", "type": "TimeoutError", "message": "600 s are over"}
    hub.job("failed", job_id="j2", title="Build", finished_at=now(), error=error, attempt=2)
    hub.job("cancelled", job_id="j3", title="Sweep", finished_at=now())
    hub.page.get_by_text("Details").first.click()
    expect(hub.page.get_by_test_id("job-card")).to_have_count(3)


def helped(hub: FakeHub) -> None:
    hub.page.get_by_role("button", name="Keyboard help").click()
    expect(hub.page.get_by_role("dialog")).to_be_visible()


def broken(hub: FakeHub) -> None:
    at_work(hub)
    hub.accepting = False
    hub.drop()
    expect(hub.page.get_by_test_id("banner")).to_be_visible()


STATES: list[Callable[[FakeHub], None]] = [
    nothing,
    signed_out,
    at_work,
    asking,
    over,
    helped,
    broken,
]


@pytest.mark.parametrize("state", STATES)
def test_no_violations(
    page: Page, page_server: str, axe: str, state: Callable[[FakeHub], None]
) -> None:
    page.emulate_media(reduced_motion="reduce")
    hub = FakeHub(page, page_server)
    hub.sign_in()
    if state is signed_out:
        hub.answers["POST", "tokens"] = (401, {"title": "Unauthorized"})
    state(hub)
    page.evaluate(axe)
    SHOTS.mkdir(exist_ok=True)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        page.screenshot(path=SHOTS / f"axe-{state.__name__}-{scheme}.png")
        found = page.evaluate("async () => (await axe.run()).violations")
        said = [(each["id"], [node["html"] for node in each["nodes"]]) for each in found]
        assert said == [], scheme


def test_axe_finds_what_is_wrong(page: Page, page_server: str, axe: str) -> None:
    hub = FakeHub(page, page_server)
    hub.sign_in()
    page.evaluate("document.querySelector('#theme').removeAttribute('aria-label')")
    page.evaluate("document.querySelector('#theme').removeAttribute('title')")
    page.evaluate(axe)
    found = page.evaluate("async () => (await axe.run()).violations.map((each) => each.id)")
    assert found == ["button-name"]
