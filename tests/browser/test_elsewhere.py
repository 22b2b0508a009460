"""Where the hub's own address is not the root of its own server: below a path of another app, and
in pages of other origins."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse
from starlette.routing import Route

from tests.browser.conftest import serving
from tests.browser.real_hub import HUB, MOUNTED, RealHub, real_hub
from tests.conftest import Server, free_port

pytestmark = [pytest.mark.browser, pytest.mark.slow]

EXAMPLES = Path(__file__).parents[2] / "examples"
SHOTS = Path(__file__).parents[2] / "test-results"
SESSION = "orders:ada"


@contextmanager
def foreign_page(valkey: Server, name: str) -> Iterator[tuple[RealHub, str]]:
    """A hub, and the address of an example on another origin, whose hub is this one."""
    port = free_port()
    hubs: list[RealHub] = []

    # Plain functions: Starlette runs them in a thread, for they wait for the hub.
    def page(_: Request) -> HTMLResponse:
        text = (EXAMPLES / name).read_text()
        return HTMLResponse(text.replace("http://127.0.0.1:8080/", f"http://127.0.0.1:{port}/"))

    def token(_: Request) -> JSONResponse:
        [hub] = hubs
        return JSONResponse({"token": hub.token(SESSION), "expires_at": "2099-01-01T00:00:00Z"})

    app = Starlette(routes=[Route(f"/{name}", page), Route("/jobcast-token", token)])
    with serving(app) as foreign:
        origin = foreign.removesuffix("/")
        with real_hub(HUB, port, valkey.url, JOBCAST_ORIGINS=origin) as hub:
            hubs.append(hub)
            yield hub, foreign + name


def test_the_whole_page_works_below_a_path(page: Page, valkey: Server) -> None:
    with real_hub(MOUNTED, free_port(), valkey.url, below="jobs/") as hub:
        addresses: list[str] = []
        page.on("request", lambda request: addresses.append(request.url))
        sockets: list[str] = []
        page.on("websocket", lambda socket: sockets.append(socket.url))
        page.goto(f"{hub.url}#token={hub.token('chat:main')}")
        expect(page.get_by_test_id("empty")).to_be_visible()
        assert page.url == hub.url

        job_id = hub.begin("chat:main", "Export the orders")
        card = page.get_by_test_id("job-card")
        expect(card).to_have_attribute("data-job-id", job_id)
        hub.tell(job_id, {"type": "progress", "current": 2, "total": 5})
        hub.tell(job_id, {"type": "log", "lines": [{"text": "one"}, {"text": "two"}]})
        expect(card).to_contain_text("2 of 5")
        expect(card.get_by_role("log")).to_contain_text("two")

        with page.expect_download() as download:
            card.get_by_role("log").hover()
            card.get_by_role("button", name="Download the log").click()
        assert Path(download.value.path()).read_text() == "one\ntwo\n"

        page.get_by_test_id("composer").fill("hello")
        page.keyboard.press("Enter")
        mine = page.get_by_test_id("message-user")
        expect(mine).to_contain_text("hello")
        expect(mine).not_to_have_attribute("data-unsent", re.compile(".*"))

        card.get_by_role("button", name="Cancel").click()
        expect(card).to_have_attribute("data-status", "cancelling")
        hub.tell(job_id, {"type": "cancelled"})
        expect(card).to_have_attribute("data-status", "cancelled")
        page.reload()
        expect(card).to_have_attribute("data-status", "cancelled")

        ours = [url for url in addresses if not url.startswith("blob:")]
        assert [url for url in ours if not url.startswith(hub.url)] == []
        assert {urlsplit(url).path for url in sockets} == {"/jobs/ws"}
        kinds = {urlsplit(url).path.split("/")[2] for url in ours}
        assert {"assets", "jobs", "sessions"} <= kinds


def test_a_card_in_a_page_of_another_origin(page: Page, valkey: Server, axe: str) -> None:
    with foreign_page(valkey, "card.html") as (hub, address):
        page.goto(address)
        cards = page.locator("jobcast-jobs")
        job_id = hub.begin(SESSION, "Your orders as a spreadsheet")
        card = page.get_by_test_id("job-card")
        expect(card).to_have_attribute("data-status", "running")
        hub.tell(job_id, {"type": "progress", "current": 30, "total": 120, "message": "Reading"})
        hub.tell(job_id, {"type": "log", "lines": [{"text": "\x1b[32mready\x1b[0m"}]})
        expect(card).to_contain_text("30 of 120")
        expect(card.locator(".ansi-fg-2")).to_have_text("ready")
        # Styled by the hub's sheets, with the page's own colour, and not by the page's type.
        expect(card).to_have_css("border-top-left-radius", "12px")
        expect(card.get_by_test_id("job-status")).to_have_css("color", "rgb(107, 33, 168)")
        expect(page.locator("h1")).to_have_css("font-family", "Georgia, serif")
        SHOTS.mkdir(exist_ok=True)
        page.screenshot(path=SHOTS / "embedded-light.png")
        page.emulate_media(color_scheme="dark")
        page.screenshot(path=SHOTS / "embedded-dark.png")
        page.emulate_media(color_scheme="light")
        page.evaluate(axe)
        found = page.evaluate("async () => (await axe.run('jobcast-jobs')).violations")
        assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found] == []

        other = hub.begin(SESSION, "A second export")
        expect(card).to_have_count(2)
        expect(card.first).to_have_attribute("data-job-id", other)
        cards.evaluate("(el, id) => el.setAttribute('job', id)", job_id)
        expect(card).to_have_count(1)
        card.get_by_role("button", name="Cancel").focus()
        hub.tell(job_id, {"type": "completed", "result": {"rows": 120}})
        expect(card).to_have_attribute("data-status", "completed")
        expect(card).to_contain_text("120")
        # The button is gone, and its card has the focus.
        expect(card).to_be_focused()
        card.get_by_text("Details").click()
        card.get_by_role("button", name=job_id).click()
        cards.evaluate("el => el.removeAttribute('session')")
        expect(card).to_have_count(0)


def test_a_session_by_eventsource_in_a_page_of_another_origin(page: Page, valkey: Server) -> None:
    with foreign_page(valkey, "eventsource.html") as (hub, address):
        job_id = hub.begin(SESSION, "Export")
        page.goto(f"{address}#hub={hub.url}&session={SESSION}&token={hub.token(SESSION)}")
        item = page.get_by_role("listitem")
        expect(item).to_contain_text("Export")
        expect(page.get_by_role("status")).to_have_text("Live")
        hub.tell(job_id, {"type": "progress", "current": 1, "total": 4})
        expect(item.get_by_role("progressbar")).to_have_js_property("value", 0.25)
        hub.tell(job_id, {"type": "completed", "result": None})
        expect(item.get_by_role("strong")).to_have_text("completed")
        page.goto(f"{address}?#hub={hub.url}&session={SESSION}&token=nonsense")
        expect(page.get_by_role("status")).to_have_text("Refused: 4401")


#: What a proxy does that knows no WebSocket.
NO_WEBSOCKET = """
  globalThis.WebSocket = class {
    readyState = 0;
    constructor() { setTimeout(() => this.onclose?.({ code: 1006 })); }
    close() {}
  };
"""


def test_where_no_websocket_gets_through_the_page_goes_by_sse(page: Page, valkey: Server) -> None:
    page.add_init_script(NO_WEBSOCKET)
    with real_hub(HUB, free_port(), valkey.url) as hub:
        page.goto(f"{hub.url}#token={hub.token('chat:main')}")
        expect(page.get_by_test_id("empty")).to_be_visible(timeout=20_000)
        job_id = hub.begin("chat:main", "Export")
        card = page.get_by_test_id("job-card")
        expect(card).to_have_attribute("data-status", "running")
        hub.tell(job_id, {"type": "log", "lines": [{"text": "by stream"}]})
        expect(card.get_by_role("log")).to_contain_text("by stream")
        card.get_by_role("button", name="Cancel").click()
        expect(card).to_have_attribute("data-status", "cancelling")
        hub.tell(job_id, {"type": "completed", "result": {"rows": 3}})
        expect(card).to_have_attribute("data-status", "completed")
        expect(page.get_by_test_id("banner")).to_be_hidden()


def test_a_page_that_the_hub_does_not_know_shows_nothing(page: Page, valkey: Server) -> None:
    with foreign_page(valkey, "eventsource.html") as (hub, address):
        stranger = address.replace("127.0.0.1", "localhost")
        page.goto(f"{stranger}#hub={hub.url}&session={SESSION}&token={hub.token(SESSION)}")
        expect(page.get_by_role("status")).to_have_text("Refused")
