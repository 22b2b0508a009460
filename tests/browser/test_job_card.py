"""A job's card, from birth to end, with a scripted hub behind it."""

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.fake_hub import FakeHub, Frame, now

pytestmark = pytest.mark.browser


@pytest.fixture
def hub(page: Page, page_server: str) -> FakeHub:
    hub = FakeHub(page, page_server)
    hub.sign_in()
    return hub


@pytest.fixture
def card(page: Page) -> Locator:
    return page.get_by_test_id("job-card")


def button(card: Locator, name: str) -> Locator:
    return card.get_by_role("button", name=name, exact=True)


def test_a_life_from_pending_to_completed(page: Page, hub: FakeHub, card: Locator) -> None:
    status = card.get_by_test_id("job-status")
    hub.job("pending")
    expect(card).to_have_attribute("data-job-id", "j1")
    expect(status).to_have_text("Pending")
    expect(card.get_by_role("progressbar")).to_be_hidden()
    hub.job("running", 2, started_at=now())
    expect(status).to_have_text("Running")
    expect(card.get_by_role("progressbar")).not_to_have_attribute("value", "0")
    hub.progress(3, current=23, total=46, message="Running tests")
    expect(card).to_contain_text("23 of 46")
    expect(card).to_contain_text("Running tests")
    assert card.get_by_role("progressbar").evaluate("bar => bar.value") == 0.5
    expect(button(card, "Cancel")).to_be_visible()
    expect(button(card, "Run again")).to_be_hidden()
    links = [{"title": "Report", "url": "https://ci.test/1"}, {"title": "x", "url": "javascript:1"}]
    result = {"passed": 45, "failed": 1, "failures": [{"test": "test_x", "message": "no"}]}
    hub.job("completed", 4, finished_at=now(), result=result | {"links": links})
    expect(card).to_have_attribute("data-status", "completed")
    expect(button(card, "Cancel")).to_be_hidden()
    expect(button(card, "Run again")).to_be_visible()
    expect(card.get_by_role("link")).to_have_count(1)
    expect(card.get_by_role("link", name="Report")).to_have_attribute("href", "https://ci.test/1")
    expect(card).to_contain_text("test_x")
    expect(page.get_by_role("status")).to_have_text("Run tests: Completed")


def test_old_news_changes_nothing(hub: FakeHub, card: Locator) -> None:
    hub.job("running", started_at=now())
    hub.job("completed", 9, finished_at=now(), result={"n": 1})
    hub.progress(5, percent=10, message="stale news")
    hub.job("running", 3)
    hub.say("after all of it")
    expect(card.page.get_by_test_id("message-agent")).to_be_visible()
    expect(card).to_have_attribute("data-status", "completed")
    expect(card).not_to_contain_text("stale news")


def test_a_cancel_is_cancelling_until_its_event(hub: FakeHub, card: Locator) -> None:
    hub.job("running", started_at=now())
    button(card, "Cancel").click()
    hub.wait(lambda: [f["job_id"] for f in hub.sent("cancel")] == ["j1"])
    hub.job("cancelling", 2)
    expect(button(card, "Cancelling…")).to_have_attribute("aria-disabled", "true")
    button(card, "Cancelling…").click(force=True)
    hub.job("cancelled", 3, finished_at=now())
    expect(button(card, "Retry")).to_be_visible()
    assert len(hub.sent("cancel")) == 1


def test_an_approval_is_asked_and_answered(page: Page, hub: FakeHub, card: Locator) -> None:
    ask = {"id": "q1", "kind": "confirm", "prompt": "Deploy?", "options": ["yes", "no"]}
    hub.job("input_required", input=ask)
    expect(card.get_by_test_id("job-status")).to_have_text("Approval needed")
    expect(card).to_contain_text("Deploy?")
    expect(button(card, "Decline")).to_be_visible()
    button(card, "Approve").click()
    hub.wait(lambda: hub.sent("input") != [])
    answer = hub.sent("input")[0]
    assert (answer["job_id"], answer["input_id"], answer["value"]) == ("j1", "q1", "yes")
    hub.job("pending", 2, input=None)
    expect(button(card, "Approve")).to_have_count(0)
    expect(button(card, "Sending…")).to_have_count(0)


def test_a_question_has_its_options_or_a_field(hub: FakeHub, card: Locator) -> None:
    ask = {"id": "q1", "kind": "question", "prompt": "Which?", "options": ["red", "blue"]}
    hub.job("input_required", input=ask)
    button(card, "Blue").click()
    hub.wait(lambda: [f["value"] for f in hub.sent("input")] == ["blue"])
    hub.job("input_required", 2, input={"id": "q2", "kind": "question", "prompt": "Name?"})
    field = card.get_by_role("textbox", name="Name?")
    field.fill("Ada")
    hub.progress(3, percent=10)
    expect(field).to_have_value("Ada")
    field.press("Enter")
    hub.wait(lambda: [f["value"] for f in hub.sent("input")] == ["blue", "Ada"])


def test_a_failure_is_open_and_loud_and_can_be_retried(hub: FakeHub, card: Locator) -> None:
    hub.job("running", started_at=now())
    error = {"code": "timeout", "type": "TimeoutError", "message": "600 s are over"}
    hub.job("failed", 2, attempt=2, finished_at=now(), error=error)
    expect(card.get_by_role("alert").filter(has_text="600 s are over")).to_be_visible()
    expect(card).to_contain_text("It took too long")
    expect(card).to_contain_text("attempt 2 of 3")
    retry: Frame = {"id": "j2", "session_id": "chat:main", "task": "run_tests", "status": "pending"}
    retry |= {"rev": 1, "created_at": now(), "retry_of": "j1"}
    hub.answers["POST", "jobs/j1/retry"] = (202, {"job_id": "j2", "job": retry})
    button(card, "Retry").click()
    expect(card).to_have_count(2)
    expect(button(card.first, "Retry")).to_be_hidden()


def test_a_job_told_of_but_not_held_is_fetched(hub: FakeHub, card: Locator) -> None:
    job: Frame = {"id": "j7", "session_id": "chat:main", "task": "t", "title": "Fetched", "rev": 4}
    job |= {"status": "running", "created_at": now(), "started_at": now()}
    hub.answers["GET", "jobs/j7"] = (200, job)
    hub.job("running", 4, job_id="j7")
    expect(card).to_contain_text("Fetched")


def test_a_result_left_out_is_loaded_on_demand(hub: FakeHub, card: Locator) -> None:
    job: Frame = {
        "id": "j1",
        "session_id": "chat:main",
        "task": "t",
        "status": "completed",
        "rev": 2,
    }
    job |= {"created_at": now(), "finished_at": now(), "result": {"text": "whole"}}
    hub.answers["GET", "jobs/j1"] = (200, job)
    hub.job("running", started_at=now())
    hub.job("completed", 2, finished_at=now(), result=None, result_truncated=True)
    button(card, "Load the result").click()
    expect(card).to_contain_text("whole")


def test_focus_stays_where_it_is(page: Page, hub: FakeHub, card: Locator) -> None:
    hub.job("running", started_at=now())
    button(card, "Cancel").focus()
    hub.progress(2, percent=10)
    hub.log(1, "line")
    expect(card).to_contain_text("10 %")
    expect(button(card, "Cancel")).to_be_focused()
    hub.job("completed", 3, finished_at=now(), result={"n": 1})
    expect(button(card, "Cancel")).to_be_hidden()
    expect(card).to_be_focused()
    composer = page.get_by_test_id("composer")
    composer.focus()
    hub.job("input_required", job_id="j2", input={"id": "q", "kind": "confirm", "prompt": "?"})
    expect(card).to_have_count(2)
    expect(composer).to_be_focused()


def test_a_log_follows_only_at_its_end(hub: FakeHub, card: Locator) -> None:
    hub.job("running", started_at=now())
    hub.log(1, *[f"line {n}" for n in range(1, 101)])
    log = card.get_by_role("log")
    expect(log).to_contain_text("line 100")
    at_end = "el => el.scrollHeight - el.scrollTop - el.clientHeight < 2"
    hub.wait(lambda: bool(log.evaluate(at_end)))
    log.evaluate("el => { el.scrollTop = 0; }")
    jump = button(card, "Jump to latest")
    expect(jump).to_be_visible()
    hub.log(101, "line 101")
    expect(log).to_contain_text("line 101")
    assert log.evaluate("el => el.scrollTop") == 0
    jump.click()
    hub.wait(lambda: bool(log.evaluate(at_end)))
    expect(jump).to_be_hidden()
    assert log.get_attribute("aria-live") == "off"
    assert log.get_attribute("tabindex") == "0"


def test_a_log_is_bounded_and_reads_back_over_http(hub: FakeHub, card: Locator) -> None:
    hub.job("running", started_at=now())
    log = card.get_by_role("log")
    for first in range(401, 1901, 300):
        hub.log(first, *[f"line {n}" for n in range(first, first + 300)])
        expect(log).to_contain_text(f"line {first + 299}")
    rows = log.locator(".log-line")
    expect(rows).to_have_count(1000)
    expect(rows.first).to_have_text("line 901")
    lines = [{"line": n, "stream": "stdout", "text": f"old {n}"} for n in range(701, 901)]
    hub.answers["GET", "jobs/j1/logs"] = (200, {"lines": lines, "last": 1900})
    log.evaluate("el => { el.scrollTop = 0; }")
    log.get_by_role("button", name="Show earlier lines").click()
    expect(rows.first).to_have_text("old 701")
    expect(rows).to_have_count(1000)
    expect(rows.last).to_have_text("line 1700")
    # The line that was at the top is still there, the new ones are above it.
    row, view = log.locator("[data-n='901']").bounding_box(), log.bounding_box()
    assert row is not None
    assert view is not None
    assert 0 <= row["y"] - view["y"] < 60
    button(card, "Jump to latest").click()
    expect(rows.last).to_have_text("line 1900")
    # What lies further back than the hub keeps is said to be gone.
    hub.answers["GET", "jobs/j1/logs"] = (200, {"lines": [], "last": 1900})
    for _ in range(5):
        log.get_by_role("button", name="Show earlier lines").click()
    expect(log.get_by_role("button")).to_have_text("Earlier lines were not kept")


def test_lines_that_were_skipped_are_fetched(hub: FakeHub, card: Locator) -> None:
    lines = [{"line": n, "stream": "stdout", "text": f"fetched {n}"} for n in range(2, 5)]
    hub.answers["GET", "jobs/j1/logs"] = (200, {"lines": lines, "last": 5})
    hub.job("running", started_at=now())
    hub.log(1, "one")
    gap: Frame = {"type": "job.log_gap", "session_id": "chat:main", "job_id": "j1"}
    hub.send(gap | {"data": {"from": 2, "to": 4}})
    hub.log(5, "five")
    log = card.get_by_role("log")
    expect(log.locator(".log-line")).to_have_text(
        ["one", "fetched 2", "fetched 3", "fetched 4", "five"]
    )


def test_output_is_coloured_by_class_and_never_markup(hub: FakeHub, card: Locator) -> None:
    hub.job("running", started_at=now())
    hub.log(1, "\x1b[31m<b>red</b>\x1b[0m", "10%\r100%")
    log = card.get_by_role("log")
    expect(log.locator(".ansi-fg-1")).to_have_text("<b>red</b>")
    expect(log.locator(".log-line").nth(1)).to_have_text("100%")
    assert log.locator("b, [style]").count() == 0


def test_the_timeline_follows_only_at_its_end(page: Page, hub: FakeHub, card: Locator) -> None:
    for n in range(40):
        hub.say(f"message {n}", f"m{n}")
    timeline = page.get_by_test_id("timeline")
    at_end = "el => el.scrollHeight - el.scrollTop - el.clientHeight < 2"
    expect(page.get_by_test_id("message-agent")).to_have_count(40)
    hub.wait(lambda: bool(timeline.evaluate(at_end)))
    timeline.evaluate("el => { el.scrollTop = 100; }")
    latest = page.get_by_role("button", name="Latest", exact=True)
    expect(latest).to_be_visible()
    hub.say("one more", "m99")
    expect(page.get_by_test_id("message-agent")).to_have_count(41)
    assert timeline.evaluate("el => el.scrollTop") == 100
    latest.click()
    hub.wait(lambda: bool(timeline.evaluate(at_end)))


def test_the_end_stays_in_view_while_a_card_changes_its_size(
    page: Page, hub: FakeHub, card: Locator
) -> None:
    page.set_viewport_size({"width": 360, "height": 600})
    timeline = page.get_by_test_id("timeline")
    at_end = "el => el.scrollHeight - el.scrollTop - el.clientHeight < 2"
    failures = [{"test": f"test_{n}", "message": "no"} for n in range(30)]
    for n in range(5):
        job_id = f"j{n}"
        hub.job("running", job_id=job_id, started_at=now())
        hub.log(1, *[f"line {n}" for n in range(100)], job_id=job_id)
        expect(card.last.get_by_role("log")).to_contain_text("line 99")
        done = {"finished_at": now(), "result": {"failed": 30, "failures": failures}}
        hub.job("completed", 2, job_id=job_id, log_lines=100, **done)
        hub.say(f"word {n}", f"m{n}")
        expect(page.get_by_test_id("message-agent")).to_have_count(n + 1)
        hub.wait(lambda: bool(timeline.evaluate(at_end)))
    # The browser tells of a scroll late: the content may have grown in between.
    timeline.evaluate(
        """el => {
          const tall = document.createElement("div");
          tall.style.height = "500px";
          el.firstElementChild.append(tall);
          el.dispatchEvent(new Event("scroll"));
        }"""
    )
    hub.wait(lambda: bool(timeline.evaluate(at_end)))
    expect(page.get_by_role("button", name="Latest", exact=True)).to_be_hidden()


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_is_cut_off(page: Page, hub: FakeHub, card: Locator, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 740})
    long = "x" * 400
    hub.job("running", title=long, started_at=now(), params={"path": long})
    hub.log(1, long)
    hub.say(f"`{long}`\n\n```\n{long}\n```", "m1")
    hub.job("completed", 2, finished_at=now(), result={long: long, "failures": [{"test": long}]})
    expect(card).to_have_attribute("data-status", "completed")
    card.get_by_text("Details").click()
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= width
    timeline = page.get_by_test_id("timeline")
    assert timeline.evaluate("el => el.scrollWidth <= el.clientWidth")


def test_where_a_job_comes_from_is_told(hub: FakeHub, card: Locator) -> None:
    hub.job("running", job_id="j1", title="Release", started_at=now())
    firing = {"schedule": "nightly", "due_at": now()}
    hub.job("running", job_id="j2", title="Build", parent_id="j1", started_at=now())
    hub.job("running", job_id="j3", title="Sweep", metadata=firing, started_at=now())
    hub.job("running", job_id="j4", title="Orphan", parent_id="gone", metadata={"schedule": "no"})
    expect(card).to_have_count(4)
    child = card.filter(has_text="Build")
    button(child, "part of Release").click()
    expect(card.filter(has_text="Release").first).to_be_focused()
    expect(card.filter(has_text="Sweep")).to_contain_text("schedule nightly")
    expect(card.nth(0)).not_to_contain_text("part of")
    orphan = card.filter(has_text="Orphan")
    expect(button(orphan, "part of another job")).to_be_disabled()
    expect(orphan).not_to_contain_text("schedule")
    hub.job("running", job_id="gone", title="Late parent", started_at=now())
    expect(button(orphan, "part of Late parent")).to_be_enabled()


def test_what_keeps_a_job_from_starting_is_told(hub: FakeHub, card: Locator) -> None:
    hub.job("pending", parked="limit:key:staging")
    expect(card).to_contain_text("waits for the limit staging")
    hub.job("running", 2, parked=None, started_at=now())
    expect(card).not_to_contain_text("limit")
    hub.job("pending", job_id="j2", parked="task:sweep")
    expect(card.last).to_contain_text("waits for a worker that has this task")


def test_a_log_is_downloaded_whole(page: Page, hub: FakeHub, card: Locator) -> None:
    hub.answers["GET", "jobs/j1/logs"] = (200, "first, which is not shown any more\nlast\n")
    hub.job("running", started_at=now())
    hub.log(5000, "last")
    download = button(card, "Download the log")
    card.get_by_role("log").hover()
    with page.expect_download() as saved:
        download.click()
    assert saved.value.suggested_filename == "run_tests-j1.log"
    assert "not shown any more" in saved.value.path().read_text()
    hub.answers["GET", "jobs/j1/logs"] = (503, {"title": "Busy"})
    download.click()
    expect(download).to_have_attribute("data-failed", "yes")
    expect(download).to_be_enabled()
