"""Finding tasks by the name of a module or a file."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from worker.loading import LoadError, load
from worker.tasks import TaskError

Write = Callable[[str, str], None]

TASKS = """
from __future__ import annotations
from typing import TYPE_CHECKING
from worker import Registry, task
if TYPE_CHECKING:
    from worker import Context

@task
async def one(ctx: Context, n: int) -> int: return n

@task(name="other")
def two() -> None: ...

class Group:
    inner = two

registry = Registry()
registry.add(one)
number = 1
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes files into the working directory; what was imported from there is forgotten after."""
    before = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(name: str, text: str) -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    yield write
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None)
        if file and file.startswith(str(tmp_path)):
            del sys.modules[name]


def test_a_module_gives_all_its_tasks(write: Write, tmp_path: Path) -> None:
    write("my_tasks.py", TASKS)
    registry = load("my_tasks")
    assert list(registry) == ["one", "other"]
    assert registry["one"].context == "ctx"
    assert sys.path[-1] == str(tmp_path)


@pytest.mark.parametrize(
    ("target", "names"),
    [
        ("package.inside:registry", ["one"]),
        ("package.inside:two", ["other"]),
        ("package.inside:Group", ["other"]),
        ("package.inside:Group.inner", ["other"]),
    ],
)
def test_an_attribute(write: Write, target: str, names: list[str]) -> None:
    write("package/__init__.py", "")
    write("package/inside.py", TASKS)
    assert list(load(target)) == names


@pytest.mark.parametrize(
    ("target", "names"),
    [
        ("package/inside.py", ["one", "other"]),
        ("./package/inside.py", ["one", "other"]),
        ("package/inside.py:registry", ["one"]),
    ],
)
def test_a_python_file(write: Write, target: str, names: list[str]) -> None:
    write("package/inside.py", TASKS)
    assert sorted(load(target)) == names
    assert "package.inside" in sys.modules


def test_a_toml_file(write: Write) -> None:
    write("sub/my.toml", "[tasks.list]\ncommand = ['ls']\n[tasks.shell]\ncommand = ['x']\n")
    assert list(load("sub/my.toml")) == ["list"]
    assert list(load("sub/my.toml", allow={"shell"})) == ["list", "shell"]


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("nothing_there", "no module 'nothing_there'"),
        ("my_tasks.sub", "no module 'my_tasks.sub'"),
        ("my_tasks:three", "my_tasks has no 'three'"),
        ("my_tasks:number", "no task in it"),
        ("empty", "no task in it"),
        ("your_tasks.py", "your_tasks.py: no such file"),
        ("/etc/hosts.py", "no such file"),
        ("../{here}/my_tasks.py", "a .py file in the working directory"),
        ("./my_tasks", "expected module, module:attribute, a .toml file"),
        ("", "expected module"),
        ("missing.toml", "missing.toml: No such file"),
    ],
)
def test_a_target_that_is_not_there(write: Write, target: str, said: str) -> None:
    write("my_tasks.py", TASKS)
    write("empty.py", "")
    with pytest.raises(LoadError, match=said):
        load(target.format(here=Path.cwd().name))


def test_mistakes_inside_come_through(write: Write) -> None:
    write("twice.py", "from worker import task\nfor f in 'ab':\n    a = task(lambda x: x)\n")
    write("imports.py", "import not_installed_anywhere\n")
    write("wrong.toml", "[tasks.t]\n")
    with pytest.raises(TaskError, match="x: needs a type"):
        load("twice")
    with pytest.raises(ModuleNotFoundError, match="not_installed_anywhere"):
        load("imports")
    with pytest.raises(TaskError, match=r"wrong.toml: \[tasks.t\]"):
        load("wrong.toml")


@pytest.mark.parametrize("name", ["worker", "hub"])
@pytest.mark.parametrize("file", ["{}.py", "{}/__init__.py"])
def test_a_module_hidden_by_our_own_package(write: Write, name: str, file: str) -> None:
    write(file.format(name), TASKS)
    with pytest.raises(LoadError, match=f"hidden by jobcast's own package.*`{name}`: rename"):
        load(name)
    with pytest.raises(LoadError, match=f"hidden by jobcast's own package.*`{name}`: rename"):
        load(f"{name}.emails")


def test_a_hidden_bystander_is_warned_of(
    write: Write, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    write("my_tasks.py", TASKS)
    write("worker.py", "")
    with caplog.at_level(logging.WARNING):
        load("my_tasks")
    assert caplog.messages == [
        f"{tmp_path / 'worker.py'} is hidden by jobcast's own package `worker`: rename it"
    ]


def test_a_module_hidden_by_an_installed_one(write: Write, tmp_path: Path) -> None:
    write("msgspec.py", TASKS)
    with pytest.raises(LoadError, match=f"{tmp_path}/msgspec.py is hidden by .*called `msgspec`"):
        load("msgspec")
