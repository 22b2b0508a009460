"""A real Chromium, and a server of the page's files. Needs neither Redis nor a hub.

While Playwright's sync API is up, its event loop is the thread's running one: tests that use these
fixtures are no coroutines.
"""

import os
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import uvicorn
from playwright.sync_api import Browser, Page, sync_playwright
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from hub.page import page_routes
from tests.node import npm

SPECS = Path(__file__).with_name("specs")
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


def chromium_path() -> str | None:
    """Chromium as the environment or the machine has it, else Playwright's own, else None."""
    named = os.environ.get("CHROMIUM") or next(
        filter(None, map(shutil.which, CHROMIUM_NAMES)), None
    )
    if named:
        return named
    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
    return own if Path(own).exists() else None


@contextmanager
def serving(app: Starlette) -> Iterator[str]:
    """Serves an app from a thread of its own; gives its address, with a slash at the end."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(app, ws="none", lifespan="off", log_level="warning")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            # Connections wait in the listener's backlog until the server takes them.
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        finally:
            server.should_exit = True
            thread.join()


class Kept:
    """One Chromium for tests that follow each other: it takes long to start."""

    def __init__(self) -> None:
        self._until = ExitStack()
        self._browser: Browser | None = None

    def get(self) -> Browser:
        if self._browser is None:
            path = chromium_path()
            if path is None:
                reason = "no Chromium here: install one, or name it in CHROMIUM"
                if os.environ.get("CI"):
                    pytest.fail(reason)
                pytest.skip(reason)
            playwright = self._until.enter_context(sync_playwright())
            found = playwright.chromium.launch(executable_path=path, args=CHROMIUM_FLAGS)
            self._until.callback(found.close)
            self._browser = found
        return self._browser

    def close(self) -> None:
        self._browser = None
        self._until.close()


KEPT = Kept()


def needs_browser(item: pytest.Item | None) -> bool:
    return isinstance(item, pytest.Function) and "browser" in item.fixturenames


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keeps them together, in one test process."""
    for item in items:
        if needs_browser(item):
            item.add_marker(pytest.mark.xdist_group("browser"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(nextitem: pytest.Item | None) -> Iterator[None]:
    """Ends Playwright before a test that may have an event loop of its own."""
    try:
        yield
    finally:
        if not needs_browser(nextitem):
            KEPT.close()


@pytest.fixture
def browser() -> Browser:
    """Chromium. Where there is none, tests are skipped; where CI is set, they fail."""
    return KEPT.get()


@pytest.fixture(scope="module")
def page_server() -> Iterator[str]:
    """The page under `/`, and the specs under `/specs/`."""
    app = Starlette(routes=[*page_routes(), Mount("/specs", StaticFiles(directory=SPECS))])
    with serving(app) as address:
        yield address


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page of a profile of its own. What a script leaves uncaught fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 860})
    page = context.new_page()
    page.set_default_timeout(30_000)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on(
        "console",
        lambda said: errors.append(said.text) if "Content Security" in said.text else None,
    )
    yield page
    context.close()
    assert errors == []


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """axe-core, as a script that a page evaluates; for slow tests."""
    folder = tmp_path_factory.mktemp("axe")
    npm("install", "axe-core@4", cwd=folder)
    return (folder / "node_modules/axe-core/axe.min.js").read_text()
