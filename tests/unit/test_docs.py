"""Every code block of README.md and docs/ is what it says it is.

Python is compiled and run (with top-level `await`, compiled, and its imports run), shell lines
name commands and flags that there are, JSON and TOML parse, and every link leads somewhere."""

from __future__ import annotations

import ast
import configparser
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer

from worker.cli import command_line
from worker.toml_tasks import read_tasks

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
#: Commands in shell blocks that are not ours; their flags are their own affair.
FOREIGN = frozenset(
    {"cat", "cd", "celery", "claude", "curl", "docker", "echo", "export", "git", "jq", "mkdir"}
    | {"nginx", "node", "npm", "openssl", "pip", "python", "redis-cli", "source", "systemctl", "uv"}
)
#: Shown, not run: an nginx block has a test of its own, the others are read by their tools.
SHOWN = frozenset({"nginx", "yaml", "http", "text", "mermaid", "html", "Dockerfile", "ts"})


@dataclass(frozen=True)
class Block:
    """A fenced block and where it stands."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text("utf-8")
    return [
        Block(
            page,
            text.count("\n", 0, match.start()) + 1,
            match[2],
            re.sub(rf"^{match[1]}", "", match[3], flags=re.MULTILINE),
        )
        for match in FENCE.finditer(text)
    ]


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def test_every_fence_is_found_and_has_a_language() -> None:
    for page in PAGES:
        fences = len(re.findall(r"^ *```", page.read_text("utf-8"), re.MULTILINE))
        assert fences == 2 * len(blocks_of(page)), page
    known = SHOWN | CHECKS.keys()
    assert [str(block) for block in BLOCKS if block.language not in known] == []


@pytest.mark.parametrize(
    "block", [block for block in BLOCKS if block.language not in SHOWN], ids=str
)
def test_block(block: Block, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    CHECKS[block.language](block)


def check_python(block: Block) -> None:
    """Runs it; of what waits outside of any function, and of programs that start a loop, only
    what comes before that."""
    compile(block.text, str(block), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    tree = ast.parse(block.text)
    if awaits(tree):
        tree.body = [part for part in tree.body if isinstance(part, ast.Import | ast.ImportFrom)]
    tree.body = [part for part in tree.body if not ast.unparse(part).startswith("asyncio.run(")]
    name = "docs_example"
    module = sys.modules[name] = ModuleType(name)
    try:
        exec(compile(tree, str(block), "exec"), vars(module))
    finally:
        del sys.modules[name]


def awaits(tree: ast.Module) -> bool:
    """Whether something waits outside of any function."""
    open_parts: list[ast.AST] = list(tree.body)
    while open_parts:
        part = open_parts.pop()
        if isinstance(part, ast.Await | ast.AsyncFor | ast.AsyncWith):
            return True
        if not isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            open_parts += ast.iter_child_nodes(part)
    return False


def check_json(block: Block) -> None:
    json.loads(block.text)


def check_toml(block: Block) -> None:
    if "tasks" in tomllib.loads(block.text):
        assert read_tasks(block.text, ROOT / "jobcast.toml")


def check_ini(block: Block) -> None:
    """A systemd unit: every ExecStart is a command that there is."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(block.text)
    for section in parser.values():
        if command := section.get("execstart"):
            program, *rest = shlex.split(command)
            check_command([Path(program).name, *rest])


def check_js(block: Block) -> None:
    """Node parses it, where there is one."""
    if node := shutil.which("node"):
        script = Path("block.mjs")
        script.write_text(block.text)
        done = subprocess.run(
            [node, "--check", script], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


def check_sh(block: Block) -> None:
    commands = commands_of(block.text)
    assert commands, "a block without a command"
    for words in commands:
        check_command(words)


CHECKS: dict[str, Callable[[Block], None]] = {
    "python": check_python,
    "json": check_json,
    "toml": check_toml,
    "ini": check_ini,
    "js": check_js,
    "sh": check_sh,
}


def commands_of(script: str) -> list[list[str]]:
    """The simple commands of a script, and those in its `$(…)`."""
    script = re.sub(r"\\\n", " ", script)
    found = []
    for line in script.splitlines():
        for inner in re.findall(r"\$\(([^()]*)\)", line):
            found += commands_of(inner)
        line = re.sub(r"\$\([^()]*\)", "VALUE", line)
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|;&")
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, ";"]:
            if word and set(word) <= set("|;&"):
                while words and re.match(r"[A-Z_]+=", words[0]):
                    words = words[1:]
                if words:
                    found.append(words)
                words = []
            else:
                words.append(word)
    return found


def check_command(words: list[str]) -> None:
    """Fails for a command that there is not, and for flags that it does not know."""
    name, *rest = words
    if name == "jobcast":
        check_jobcast(rest)
    elif name == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert [word for word in rest if "=" not in word and word not in targets] == []
    else:
        assert name in FOREIGN, f"{name} is no command that the docs may name"


def check_jobcast(words: list[str]) -> None:
    command: Any = typer.main.get_command(command_line())
    while words and hasattr(command, "commands"):
        name, *words = words
        assert name in command.commands, f"jobcast {name}: no such command"
        command = command.commands[name]
    known = {flag for part in command.params for flag in (*part.opts, *part.secondary_opts)}
    used = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
    assert used <= known | {"--help"}, f"jobcast {command.name}"


@pytest.mark.parametrize(
    "script",
    [
        "jobcast nothing",
        "jobcast hub --nothing 1",
        "jobcast token -x",
        "make nothing",
        "frobnicate",
        "KEY=$(frobnicate) jobcast token",
        "make test | frobnicate",
    ],
)
def test_what_is_not_there_is_found(script: str) -> None:
    with pytest.raises(AssertionError):
        check_sh(Block(ROOT / "README.md", 1, "sh", script))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.name))
def test_links_lead_somewhere(page: Path) -> None:
    text = FENCE.sub("", page.read_text("utf-8"))
    targets = re.findall(r"\]\((?!https?:)([^)#\s]+)[^)]*\)", text)
    assert [target for target in targets if not (page.parent / target).exists()] == []
