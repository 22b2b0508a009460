"""docs/cli.md is what the commands say."""

from __future__ import annotations

from pathlib import Path

from worker.cli_page import page

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text("utf-8") == page(), "make docs"


COMMANDS = [
    *("dev", "hub", "worker", "demo", "token", "doctor", "tasks", "webhooks add"),
    *("enqueue", "jobs", "show", "watch", "logs", "cancel", "retry", "answer"),
]


def test_every_command_is_on_it() -> None:
    for command in COMMANDS:
        assert f"## `jobcast {command}" in page()
