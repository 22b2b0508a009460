"""What README.md and docs/ say between their blocks: links, and names of files, metrics, examples
and events lead to what there is."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from hub.client.events import Frame, event_of
from hub.metrics.catalogue import HUB, SHARED
from tests.pages import FENCE, PAGES, ROOT, blocks_of


def slug(heading: str) -> str:
    """The anchor of a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def anchors_of(page: Path) -> set[str]:
    text = FENCE.sub("", page.read_text("utf-8"))
    return {slug(heading) for heading in re.findall(r"^#+ +(.+)$", text, re.MULTILINE)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = FENCE.sub("", page.read_text("utf-8"))
    lost = []
    for link in re.findall(r"\]\((?!https?:)([^)\s]+)[^)]*\)", text):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in anchors_of(target)):
            lost.append(link)
    assert lost == []


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text("utf-8")
    names = [page.name for page in PAGES if page.parent.name == "docs"]
    assert [name for name in names if name != "README.md" and f"({name})" not in index] == []


def test_every_metric_that_is_named_is_one_that_there_is() -> None:
    known = {metric.name for metric in (*HUB, *SHARED)}
    for page in PAGES:
        named = re.findall(
            r"\bjobcast_(?:hub|queue|jobs?|workers|outbox|webhooks?)\w*", page.read_text("utf-8")
        )
        assert {re.sub("_bucket$", "", name) for name in named} <= known, page


def test_every_file_that_is_named_is_there() -> None:
    for page in PAGES:
        text = FENCE.sub("", page.read_text("utf-8"))
        named = re.findall(r"`((?:hub|worker|web|tests|examples|bench|docs)/[\w./*-]*)`", text)
        assert [name for name in named if not any(ROOT.glob(name.rstrip("/")))] == [], page


def test_the_floor_plan_names_what_there_is() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    for row in re.findall(r"^\| (?:top|doors|services|store|ground) \|(.+)\|$", text, re.MULTILINE):
        for floor, cell in zip(("hub", "worker"), row.split("|"), strict=True):
            rooms = re.findall(r"`([\w./]+)`", cell)
            assert rooms
            assert [room for room in rooms if not (ROOT / floor / room).exists()] == []


def test_no_block_goes_without_a_fence() -> None:
    for page in PAGES:
        text = FENCE.sub("", page.read_text("utf-8"))
        assert re.findall(r"\n\n((?: {4}|\t)\S.*)", text) == [], page


def test_the_events_of_the_protocol_are_events() -> None:
    """As the Python client reads them."""
    shown = [
        block for block in blocks_of(ROOT / "docs" / "protocol.md") if block.language == "json"
    ]
    assert len(shown) >= 5
    for block in shown:
        raw = block.text.encode()
        assert event_of(msgspec.json.decode(raw, type=Frame), raw) is not None, block


def test_the_examples_that_are_listed_are_there() -> None:
    index = (ROOT / "docs" / "README.md").read_text("utf-8").partition("## Examples")[2]
    named = re.findall(r"`([\w.]+)`", "".join(re.findall(r"^\| (`.+?) \|", index, re.MULTILINE)))
    assert len(named) > 5
    assert [name for name in named if not (ROOT / "examples" / name).exists()] == []
