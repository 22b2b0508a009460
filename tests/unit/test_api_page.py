"""docs/api.md is what the OpenAPI document says."""

from __future__ import annotations

import re
from pathlib import Path

from hub.api import OPERATIONS
from hub.api_page import api_page

PAGE = Path(__file__).parents[2] / "docs" / "api.md"
TEXT = api_page()


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text("utf-8") == TEXT, "run: make docs"


def test_every_operation_is_on_it() -> None:
    wanted = [f"### `{each.method} {each.path}`\n" for each in OPERATIONS]
    assert [heading for heading in wanted if heading not in TEXT] == []


def test_every_link_within_it_leads_to_a_heading() -> None:
    headings = {heading.lower() for heading in re.findall(r"^##+ (\w+)$", TEXT, re.MULTILINE)}
    assert [link for link in re.findall(r"\(#(\w+)\)", TEXT) if link not in headings] == []


def test_bounds_and_defaults_are_told() -> None:
    assert "| `limit` | query | integer | How many at most; ≥ 1; ≤ 200; default `50` |" in TEXT
    assert "| `priority` | integer or null |" in TEXT
