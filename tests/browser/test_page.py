"""The page as a person uses it, with a scripted hub behind it."""

import contextlib
import re
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Error, Page, expect

from tests.browser.fake_hub import FakeHub

pytestmark = pytest.mark.browser


@pytest.fixture
def hub(page: Page, page_server: str) -> FakeHub:
    return FakeHub(page, page_server)


def test_without_a_link_it_says_how_to_get_one(page: Page, page_server: str) -> None:
    page.goto(page_server)
    expect(page.get_by_test_id("signed-out")).to_contain_text("jobcast dev")


def test_a_spent_link_is_told_and_leaves_the_address(page: Page, hub: FakeHub) -> None:
    hub.answers["POST", "tokens"] = (401, {"title": "Unauthorized", "detail": "The code is spent"})
    page.goto(hub.address + "#code=spent")
    expect(page.get_by_role("alert")).to_have_text("That link did not work: The code is spent.")
    assert page.url == hub.address


def test_a_code_signs_in_once_and_a_reload_stays_signed_in(page: Page, hub: FakeHub) -> None:
    hub.sign_in("#code=good")
    assert page.url == hub.address
    assert hub.calls == [("POST", "tokens", {"code": "good"})]
    expect(page.get_by_test_id("empty")).to_contain_text("Run the full test suite")
    page.reload()
    expect(page.get_by_test_id("empty")).to_be_visible()
    assert len(hub.calls) == 1


def test_the_page_asks_nobody_but_its_own_server(page: Page, hub: FakeHub) -> None:
    hosts: set[str] = set()
    page.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
    hub.sign_in()
    hub.say("![x](https://evil.test/x.png) <img src='https://evil.test/y.png'> **done**")
    expect(page.get_by_test_id("message-agent")).to_contain_text("done")
    assert hosts <= {urlsplit(hub.address).netloc, ""}


def test_a_sent_message_shows_at_once_and_its_echo_does_not_double(
    page: Page, hub: FakeHub
) -> None:
    hub.echoing = False
    hub.sign_in()
    page.keyboard.type("first line")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("second line")
    page.keyboard.press("Enter")
    mine = page.get_by_test_id("message-user")
    expect(mine).to_have_attribute("data-unsent", "sending")
    hub.wait(lambda: len(hub.calls) == 2)
    said = hub.calls[-1][2]
    assert said["text"] == "first line\nsecond line"
    hub.say(said["text"], said["message_id"], "user")
    expect(mine).not_to_have_attribute("data-unsent", re.compile(".*"))
    expect(mine).to_have_count(1)
    expect(page.get_by_test_id("composer")).to_have_value("")


def test_what_was_typed_is_never_lost(page: Page, hub: FakeHub) -> None:
    hub.sign_in()
    composer = page.get_by_test_id("composer")
    composer.fill("half a thou")
    page.reload()
    expect(composer).to_have_value("half a thou")
    hub.answers["POST", "sessions/chat%3Amain/messages"] = (429, {"title": "Slow down"})
    composer.press("Enter")
    mine = page.get_by_test_id("message-user")
    expect(mine.get_by_role("alert")).to_have_text("Slow down.")
    page.reload()
    expect(mine).to_contain_text("half a thou")
    mine.get_by_role("button", name="Edit").click()
    expect(composer).to_have_value("half a thou")
    expect(mine).to_have_count(0)


def test_a_failed_message_is_sent_again_with_the_same_id(page: Page, hub: FakeHub) -> None:
    hub.sign_in()
    path = "sessions/chat%3Amain/messages"
    hub.answers["POST", path] = (400, {"title": "Bad", "detail": "No"})
    page.keyboard.type("hello")
    page.keyboard.press("Enter")
    mine = page.get_by_test_id("message-user")
    expect(mine).to_have_attribute("data-unsent", "failed")
    del hub.answers["POST", path]
    mine.get_by_role("button", name="Send again").click()
    expect(mine).not_to_have_attribute("data-unsent", re.compile(".*"))
    first, second = [body for _, called, body in hub.calls if called == path]
    assert first == second


def test_a_reply_being_written_is_one_message_and_its_markup_is_tamed(
    page: Page, hub: FakeHub
) -> None:
    hub.sign_in()
    text = (
        "**Bold** <script>document.title='owned'</script><b onclick=x>b</b> [x](javascript:1)"
        " <a href='https://example.org/' onclick=y title=\"a > b\">z</a><br/>1 < 2 & <3<!-- no -->"
        "\n\n<div onclick='document.title=1'>\n<em ONCLICK=x>block</em> < </div>"
    )
    partial = {"type": "message.partial", "session_id": "chat:main", "time": "2026-11-23T19:20:31Z"}
    hub.send(partial | {"data": {"message_id": "m1", "text": text[:6]}})
    reply = page.get_by_test_id("message-agent")
    expect(reply).to_have_attribute("data-partial", "true")
    hub.say(text, "m1")
    expect(reply).to_have_attribute("data-partial", "false")
    expect(reply).to_have_count(1)
    expect(reply.locator("strong")).to_have_text("Bold")
    assert reply.locator("script, [onclick]").count() == 0
    link = reply.locator("a[href]")
    expect(link).to_have_attribute("href", "https://example.org/")
    expect(link).to_have_attribute("title", "a > b")
    expect(reply.locator("em")).to_have_text("block")
    expect(reply).to_contain_text("1 < 2 & <3")
    expect(reply).not_to_contain_text("no")
    assert page.title() == "Jobcast"


def test_new_conversations_are_kept_apart_and_listed(page: Page, hub: FakeHub) -> None:
    hub.sign_in()
    page.keyboard.type("What can you do?")
    page.keyboard.press("Enter")
    first = page.locator("[data-session-id='chat:main']")
    expect(first).to_have_text("What can you do?")
    page.get_by_test_id("new-conversation").click()
    hub.wait(lambda: len(hub.sent("subscribe")) == 2)
    fresh = hub.sent("subscribe")[-1]["session_id"]
    assert re.fullmatch(r"chat:[0-9a-f]{24}", fresh)
    assert hub.sent("unsubscribe")[0]["session_id"] == "chat:main"
    expect(page.get_by_test_id("message-user")).to_have_count(0)
    page.reload()
    expect(page.locator(f"[data-session-id='{fresh}']")).to_have_attribute("aria-current", "true")


def test_keys(page: Page, hub: FakeHub) -> None:
    hub.sign_in()
    hub.job("running", job_id="j1", started_at="2026-11-23T19:20:31Z")
    hub.job("running", job_id="j2", started_at="2026-11-23T19:20:31Z")
    card = page.get_by_test_id("job-card")
    expect(card).to_have_count(2)
    composer = page.get_by_test_id("composer")
    page.keyboard.press("/")
    composer.fill("")
    page.keyboard.type("t/?j")
    expect(composer).to_have_value("t/?j")
    page.keyboard.press("Escape")
    expect(composer).not_to_be_focused()
    page.keyboard.press("j")
    expect(card.nth(1)).to_be_focused()
    page.keyboard.press("k")
    expect(card.nth(0)).to_be_focused()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.keyboard.press("t")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.keyboard.press("/")
    expect(composer).to_be_focused()
    expect(composer).to_have_value("t/?j")


def test_a_break_shows_a_banner_and_the_session_is_resumed(page: Page, hub: FakeHub) -> None:
    hub.sign_in()
    hub.job("running", started_at="2026-11-23T19:20:31Z")
    expect(page.get_by_test_id("job-card")).to_have_count(1)
    banner = page.get_by_test_id("banner")
    expect(banner).to_be_hidden()
    hub.accepting = False
    hub.drop()
    expect(banner).to_contain_text("Reconnecting")
    expect(page.locator("html")).to_have_attribute("data-stale", "true")
    hub.accepting = True
    retry = banner.get_by_role("button", name="Retry now")
    # It may also come back by itself before the click: either way it is back.
    retry.or_(page.locator("html[data-stale=false]")).first.wait_for()
    if retry.is_visible():
        with contextlib.suppress(Error):  # it may be gone by now
            retry.click(force=True)
    hub.wait(lambda: len(hub.sent("subscribe")) == 2)
    assert hub.sent("subscribe")[-1]["after"] == hub.cursor
    expect(banner).to_be_hidden()
    hub.job("completed", 2, result={"passed": 3})
    expect(page.get_by_test_id("job-card")).to_have_attribute("data-status", "completed")


def test_a_session_ended_by_the_hub_signs_out(page: Page, hub: FakeHub) -> None:
    hub.sign_in()
    hub.answers["POST", "tokens"] = (401, {"title": "Unauthorized"})
    hub.drop(4401)
    expect(page.get_by_test_id("signed-out")).to_contain_text("Your sign-in has ended.")
    page.reload()
    expect(page.get_by_test_id("signed-out")).to_be_visible()


def test_a_hidden_page_counts_in_its_title(page: Page, hub: FakeHub) -> None:
    hub.sign_in()
    hub.job("running", started_at="2026-11-23T19:20:31Z")
    set_visibility(page, "hidden")
    hub.job("completed", 2, result={})
    hub.wait(lambda: page.title() == "(1) Jobcast")
    set_visibility(page, "visible")
    hub.wait(lambda: page.title() == "Jobcast")


def set_visibility(page: Page, state: str) -> None:
    page.evaluate(
        """(state) => {
          Object.defineProperty(document, "visibilityState", { value: state, configurable: true });
          document.dispatchEvent(new Event("visibilitychange"));
        }""",
        state,
    )
