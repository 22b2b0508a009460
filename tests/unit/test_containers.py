"""Dockerfile and compose.yaml: commands exist, what is copied is there, nothing runs as root."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.unit.test_docs import check_command

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
COMPOSE = (ROOT / "compose.yaml").read_text("utf-8")
COMMANDS = re.findall(r"^(?:CMD |    command: )(\[.*\])$", f"{DOCKERFILE}\n{COMPOSE}", re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_and_flags_exist(command: str) -> None:
    words = json.loads(command)
    if words[0] != "valkey-server":
        check_command(["jobcast", *words])


def test_there_are_commands() -> None:
    assert [json.loads(command)[0] for command in COMMANDS] == [
        "hub",
        "valkey-server",
        "hub",
        "worker",
    ]


def test_what_is_copied_is_there_and_not_ignored() -> None:
    copied = [
        word
        for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE)
        for word in line.split()[:-1]
        if not word.startswith("--")
    ]
    kept = (ROOT / ".dockerignore").read_text().split()
    assert copied
    for name in copied:
        assert (ROOT / name).exists(), name
        assert f"!{name}" in kept, name


def test_it_does_not_run_as_root() -> None:
    last = DOCKERFILE.rpartition("\nFROM ")[2]
    assert re.findall(r"^USER (.*)$", last, re.MULTILINE) == ["jobcast"]
    assert last.index("\nUSER ") < last.index("\nENTRYPOINT ")


def test_secrets_have_no_default() -> None:
    for name in ("JOBCAST_SECRET", "JOBCAST_API_KEYS"):
        assert re.search(rf"{name}: \$\{{{name}:\?", COMPOSE), name
