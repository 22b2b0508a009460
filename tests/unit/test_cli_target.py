"""Which hub a command speaks to, and with which credential."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from hub.cli.target import DEFAULT_URL, Target, find_target
from worker.cli import command_line

DEV = "http://127.0.0.1:8123"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What a `jobcast dev` that runs keeps."""
    found = tmp_path / ".jobcast"
    found.mkdir()
    (found / "url").write_text(DEV + "\n")
    (found / "api-key").write_text("dev-key\n")
    return found


@pytest.mark.parametrize(
    ("url", "token", "env", "found"),
    [
        ("http://a", "t", {"JOBCAST_URL": "http://b"}, ("http://a", "t", "--url")),
        (None, None, {"JOBCAST_URL": "http://b", "JOBCAST_TOKEN": "e"}, ("http://b", "e")),
        # The key of the directory goes to its own hub alone.
        ("http://a", None, {}, ("http://a", None)),
        (None, None, {}, (DEV, "dev-key")),
        (None, None, {"JOBCAST_API_KEY": "k"}, (DEV, "k")),
        (None, None, {"JOBCAST_TOKEN": "e", "JOBCAST_API_KEY": "k"}, (DEV, "e")),
    ],
)
def test_flags_come_before_variables_and_those_before_the_directory(
    folder: Path,
    url: str | None,
    token: str | None,
    env: dict[str, str],
    found: tuple[str | None, ...],
) -> None:
    target = find_target(url, token, env, folder)
    assert target[: len(found)] == found


def test_without_any_it_is_the_default(tmp_path: Path) -> None:
    assert find_target(None, None, {}, tmp_path) == Target(DEFAULT_URL, None, "")


@pytest.mark.slow  # it imports all of MCP
def test_mcp_finds_its_hub_as_every_command_does(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served: list[tuple[str, str, str]] = []

    async def serve(url: str, token: str, session_id: str) -> None:
        served.append((url, token, session_id))

    monkeypatch.chdir(folder.parent)
    monkeypatch.setattr("hub.mcp.stdio.serve", serve)
    env = dict.fromkeys(("JOBCAST_URL", "JOBCAST_TOKEN", "JOBCAST_API_KEY"))
    words = ["mcp", "--session", "s1"]
    assert CliRunner().invoke(command_line(), words, env=env).exit_code == 0
    assert served == [(DEV, "dev-key", "s1")]
    elsewhere = CliRunner().invoke(command_line(), [*words, "--url", "http://a"], env=env)
    assert elsewhere.exit_code == 2
    assert "JOBCAST_TOKEN is missing" in elsewhere.stderr
