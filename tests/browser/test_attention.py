"""Notifications, and reading further back than the page was given."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser.fake_hub import TIME, FakeHub, Frame, now
from tests.browser.test_page import set_visibility

pytestmark = [pytest.mark.browser, pytest.mark.slow]

#: A browser's notifications, as far as the page uses them; what was shown is in `notes`.
NOTIFICATIONS = """
  globalThis.notes = [];
  globalThis.Notification = class {
    static get permission() { return sessionStorage.getItem("permission") ?? "default"; }
    static async requestPermission() {
      sessionStorage.setItem("permission", globalThis.decision ?? "granted");
      return this.permission;
    }
    constructor(title, { body, tag }) { notes.push([title, body, tag]); }
    close() {}
  };
"""


def signed_in(page: Page, address: str) -> FakeHub:
    page.add_init_script(NOTIFICATIONS)
    hub = FakeHub(page, address)
    hub.sign_in()
    return hub


def notes(page: Page) -> list[list[str]]:
    found: list[list[str]] = page.evaluate("notes")
    return found


def test_a_hidden_page_notifies_once_it_was_asked_to(page: Page, page_server: str) -> None:
    hub = signed_in(page, page_server)
    bell = page.get_by_role("button", name="Notify me")
    expect(bell).to_have_attribute("aria-pressed", "false")
    set_visibility(page, "hidden")
    hub.job("completed", job_id="j0")
    hub.wait(lambda: page.title() == "(1) Jobcast")
    assert notes(page) == []
    set_visibility(page, "visible")

    bell.click()
    expect(bell).to_have_attribute("aria-pressed", "true")
    hub.job("running", started_at=now())
    hub.job("completed", 2)
    expect(page.get_by_test_id("job-card").last).to_have_attribute("data-status", "completed")
    assert notes(page) == []
    set_visibility(page, "hidden")
    hub.job("running", job_id="j2", started_at=now())
    hub.job("failed", 2, job_id="j2", finished_at=now())
    ask = {"id": "q", "kind": "confirm", "prompt": "Deploy?"}
    hub.job("input_required", job_id="j3", title="Deploy", input=ask)
    hub.wait(lambda: len(notes(page)) == 2)
    assert notes(page) == [["Run tests", "Failed", "j2"], ["Deploy", "Approval needed", "j3"]]

    page.reload()
    expect(bell).to_have_attribute("aria-pressed", "true")
    bell.click()
    expect(bell).to_have_attribute("aria-pressed", "false")


def test_a_refused_permission_is_not_asked_for_twice(page: Page, page_server: str) -> None:
    page.add_init_script("globalThis.decision = 'denied'")
    hub = signed_in(page, page_server)
    bell = page.get_by_role("button", name="Notify me")
    bell.click()
    expect(bell).to_have_attribute("aria-pressed", "false")
    set_visibility(page, "hidden")
    hub.job("completed")
    hub.wait(lambda: page.title() == "(1) Jobcast")
    assert notes(page) == []


def test_of_two_tabs_one_notifies(page: Page, page_server: str) -> None:
    first = signed_in(page, page_server)
    page.get_by_role("button", name="Notify me").click()
    other = page.context.new_page()
    second = signed_in(other, page_server)
    other.get_by_role("button", name="Notify me").click()
    for tab, hub in ((page, first), (other, second)):
        set_visibility(tab, "hidden")
        hub.job("completed", job_id="j1")
        hub.wait(lambda tab=tab: tab.title() == "(1) Jobcast")  # type: ignore[misc]
    assert len(notes(page)) + len(notes(other)) == 1


def test_what_is_further_back_is_read_on_demand(page: Page, page_server: str) -> None:
    hub = FakeHub(page, page_server)
    job: Frame = {"session_id": "chat:main", "task": "t", "status": "completed", "rev": 3}
    hub.jobs = [job | {"id": "j2", "title": "Held", "created_at": "2026-11-23T19:20:00.000Z"}]
    hub.more = "page-2"
    hub.messages = [said(n) for n in range(200, 400)]
    older = job | {"id": "j1", "title": "Older", "created_at": "2026-11-20T10:00:00.000Z"}
    hub.answers["GET", "jobs"] = (200, {"jobs": [older], "more": None})
    path = "sessions/chat%3Amain/messages"
    hub.answers["GET", path] = (503, {"title": "Busy"})
    hub.sign_in()
    expect(page.get_by_test_id("job-card")).to_have_count(1)
    timeline = page.get_by_test_id("timeline")
    timeline.evaluate("el => { el.scrollTop = 0; }")
    button = page.get_by_role("button", name="Show earlier")
    button.click()
    expect(page.get_by_test_id("job-card")).to_have_count(2)
    again = page.get_by_role("button", name="Busy. Try again")
    hub.answers["GET", path] = (200, {"messages": [said(1), said(2)], "more": None})
    again.click()
    messages = page.get_by_test_id("message-user")
    expect(messages).to_have_count(202)
    expect(messages.first.locator(".message-text")).to_have_text("said 1")
    expect(button).to_be_hidden()
    # What was in view still is: the rest is above it.
    assert timeline.evaluate("el => el.scrollTop") > 0
    asked = [called for method, called, _ in hub.calls if method == "GET"]
    assert asked == ["jobs", path, path]


def said(n: int) -> Frame:
    time = TIME.replace("19:20:31", f"{n // 60:02}:{n % 60:02}:00")
    return {
        "message_id": f"m{n}",
        "role": "user",
        "text": f"said {n}",
        "time": time,
        "cursor": f"{n}-1",
    }
