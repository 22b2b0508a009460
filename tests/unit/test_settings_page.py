"""docs/settings.md is what the settings say."""

from __future__ import annotations

from pathlib import Path

from hub.settings_page import settings_page

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text("utf-8") == settings_page(), "run: make docs"


def test_values_are_shown_as_they_may_be_typed() -> None:
    page = settings_page()
    assert "| `JOBCAST_KEEP` | `--keep` | 604800 |" in page
    assert "| `JOBCAST_AGENT` | `--agent`, `--no-agent` | on |" in page
    assert "| `JOBCAST_SECRET` | `--secret` | – |" in page
