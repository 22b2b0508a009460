"""The page's modules, each tested by a spec that runs where the page runs: in a real browser."""

import pytest
from playwright.sync_api import Page

from tests.browser.conftest import SPECS

pytestmark = pytest.mark.browser

SPEC_NAMES = sorted(path.name for path in SPECS.glob("*.spec.js"))


@pytest.mark.parametrize("spec", SPEC_NAMES)
def test_spec(page: Page, page_server: str, spec: str) -> None:
    page.goto(f"{page_server}specs/harness.js")
    results = page.evaluate(
        "async (spec) => (await import('/specs/harness.js')).run(`/specs/${spec}`)", spec
    )
    assert results, "a spec without tests proves nothing"
    failures = [f"{result['name']}: {result['error']}" for result in results if result["error"]]
    assert not failures, "\n".join(failures)


def test_a_failing_spec_is_told(page: Page, page_server: str) -> None:
    page.goto(f"{page_server}specs/harness.js")
    results = page.evaluate(
        "async () => (await import('/specs/harness.js')).run('/specs/wrong.js')"
    )
    failed = {result["name"]: bool(result["error"]) for result in results}
    assert failed == {"differs": True, "throws_late": True, "passes": False}
