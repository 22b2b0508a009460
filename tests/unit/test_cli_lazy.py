"""The list of commands is true, and a command imports what it needs and no more."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
import typer.main

from hub.cli import COMMANDS
from worker.cli import WORKER_COMMANDS, command_line

ALL = {**COMMANDS, **WORKER_COMMANDS}
GROUP: Any = typer.main.get_command(command_line())


@pytest.mark.parametrize("name", ALL)
def test_the_list_says_what_the_command_says(name: str) -> None:
    command = GROUP.commands[name]
    first = " ".join(command.help.split("\n\n")[0].split())
    assert first == ALL[name].help
    listed = GROUP.get_command(None, name)
    assert (command.name or name, listed.name, listed.help) == (name, name, first)


def test_there_are_these_and_no_others() -> None:
    assert list(GROUP.commands) == GROUP.list_commands(None) == list(ALL)
    assert GROUP.get_command(None, "nothing") is None


LOADED = """
import json, sys
from worker.cli import main
try:
    main()
except SystemExit:
    pass
sys.stderr.write(json.dumps(sorted(sys.modules)))
"""


@pytest.mark.parametrize(
    ("words", "needless"),
    [
        (["--help"], ["asyncio", "redis", "starlette", "httpcore2", "hub.settings"]),
        (["jobs", "--help"], ["jwt", "websockets", "uvicorn", "hub.app", "hub.client.direct"]),
        (["worker", "--help"], ["redis", "starlette", "worker.runner", "hub.client"]),
    ],
    ids=["help", "jobs", "worker"],
)
def test_a_command_imports_what_it_needs_alone(words: list[str], needless: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-c", LOADED, *words], capture_output=True, text=True, check=True
    )
    assert "Usage" in done.stdout
    assert not {*needless} & {*json.loads(done.stderr)}
