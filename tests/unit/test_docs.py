"""Every code block of README.md and docs/ is what it says it is.

Python is compiled and run (with top-level `await`, compiled, and its imports run), shell scripts
parse, and name commands and flags that there are, JSON, TOML and YAML parse, nginx and Node read
theirs where they are installed. `test_docs_claims.py` looks at what stands between the blocks, and
`test_walks.py` does what the pages say that lead a reader by the hand."""

from __future__ import annotations

import ast
import configparser
import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer
import yaml

from tests.pages import PAGES, ROOT, Block, blocks_of
from worker.cli import command_line
from worker.toml_tasks import read_tasks

#: Commands in shell blocks that are not ours; their flags are their own affair.
FOREIGN = frozenset(
    {"cat", "cd", "celery", "claude", "curl", "docker", "echo", "export", "git", "jq", "mkdir"}
    | {"nginx", "node", "npm", "openssl", "pip", "python", "python3", "redis-cli", "rq", "source"}
    | {"systemctl", "tee", "uv", "uvicorn", "valkey-cli"}
)
#: For people's eyes: output, and what goes over the wire.
SHOWN = frozenset({"http", "text"})
BLOCKS = [block for page in PAGES for block in blocks_of(page)]
SAMPLE = tomllib.loads((ROOT / "jobcast.toml").read_text("utf-8"))["tasks"]
#: Elements without an end tag.
VOID = frozenset({"br", "hr", "img", "input", "link", "meta"})


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
    needs = block.note.removeprefix("needs: ")
    if needs != block.note and importlib.util.find_spec(needs) is None:
        return  # it cannot be installed beside the rest, and has a test of its own
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
        passes(node, "--check", script)


class Page(HTMLParser):
    """Finds scripts, and tags that do not match."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.scripts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> ends another element"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script" and data.strip():
            self.scripts.append(data)


def check_html(block: Block) -> None:
    """Elements end where they should, and the scripts are JavaScript."""
    page = Page()
    page.feed(block.text)
    page.close()
    assert page.open in ([], ["html"]), page.open
    for script in page.scripts:
        check_js(Block(block.page, block.line, "js", script))


def check_yaml(block: Block) -> None:
    assert yaml.safe_load(block.text)


def check_dockerfile(block: Block) -> None:
    """What the image runs, it can run."""
    for command in re.findall(r"^(?:CMD|ENTRYPOINT) (\[.*\])$", block.text, re.MULTILINE):
        check_jobcast(json.loads(command))


def check_nginx(block: Block) -> None:
    """nginx takes it, where it is installed; with a certificate and logs of the test's own."""
    binary = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if binary is None or not shutil.which("openssl"):
        return
    passes(
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
        *("-nodes", "-subj", "/CN=app.example.com", "-keyout", "key.pem", "-out", "cert.pem"),
    )
    here = Path.cwd()
    text = re.sub(r"(ssl_certificate +)\S+;", rf"\1{here}/cert.pem;", block.text)
    text = re.sub(r"(ssl_certificate_key +)\S+;", rf"\1{here}/key.pem;", text)
    text = text.replace("/var/log/nginx/", f"{here}/")
    if "server {" not in text:
        text = f"server {{ listen 127.0.0.1:8443; {text} }}"
    temporary = "".join(
        f"{kind}_temp_path {here}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    Path("nginx.conf").write_text(
        f"pid {here}/nginx.pid;\nerror_log stderr;\nevents {{}}\nhttp {{\n{temporary}{text}\n}}\n"
    )
    passes(binary, "-t", "-p", here, "-c", here / "nginx.conf", "-e", "stderr")


def check_sh(block: Block) -> None:
    """bash parses it, and every command in it is one that there is."""
    passes("bash", "-n", "-c", block.text)
    commands = commands_of(block.text)
    assert commands, "a block without a command"
    for words in commands:
        check_command(words)


def passes(*command: str | os.PathLike[str]) -> None:
    """Runs a command that has to succeed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


CHECKS: dict[str, Callable[[Block], None]] = {
    "python": check_python,
    "json": check_json,
    "toml": check_toml,
    "ini": check_ini,
    "js": check_js,
    "html": check_html,
    "yaml": check_yaml,
    "nginx": check_nginx,
    "Dockerfile": check_dockerfile,
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
    if command.name == "enqueue":
        check_enqueue(*words)


def check_enqueue(task: str, *words: str) -> None:
    """The task is the sample's, with these params, or one that a page writes."""
    named = {word.partition("=")[0].rstrip(":") for word in words if re.match(r"[a-z_]+:?=", word)}
    if task in SAMPLE:
        assert named <= SAMPLE[task].get("params", {}).keys(), f"{task}: {named}"
    else:
        written = [block for block in BLOCKS if f"def {task}(" in block.text]
        assert written, f"{task} is no task of any page"


@pytest.mark.parametrize(
    "script",
    [
        "jobcast nothing",
        "jobcast hub --nothing 1",
        "jobcast token -x",
        "jobcast enqueue run_tests nothing=1",
        "jobcast enqueue nothing",
        "make nothing",
        "frobnicate",
        "KEY=$(frobnicate) jobcast token",
        "make test | frobnicate",
    ],
)
def test_what_is_not_there_is_found(script: str) -> None:
    with pytest.raises(AssertionError):
        check_sh(Block(ROOT / "README.md", 1, "sh", script))


def test_the_compose_file_runs_what_there_is() -> None:
    services = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))["services"]
    check_jobcast(services["hub"]["command"])
    check_jobcast(services["worker"]["command"])
