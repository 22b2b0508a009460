"""What docs/tasks.md shows works as it is written."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from worker.declared import READERS
from worker.tasks import Task
from worker.toml_params import ParamTable
from worker.toml_tasks import TaskTable, read_tasks

DOCS = Path(__file__).parents[2] / "docs" / "tasks.md"
TEXT = DOCS.read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def test_the_toml_blocks_declare_tasks() -> None:
    (text,) = blocks("toml")
    task = read_tasks(text, DOCS)["run_tests"]
    assert task.max_attempts == 3
    assert task.decode_params(b'{"selector": "a.py::b"}')["selector"] == "a.py::b"


def test_the_python_blocks_declare_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    (text,) = blocks("python")
    module = ModuleType("docs_example")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(text, str(DOCS), "exec"), vars(module))
    task = vars(module)["run_tests"]
    assert isinstance(task, Task)
    assert (task.context, task.description) == ("ctx", "Run the tests.")


@pytest.mark.parametrize("table", [TaskTable, ParamTable])
def test_every_key_is_explained(table: type[TaskTable] | type[ParamTable]) -> None:
    missing = [key for key in table.__struct_fields__ if f"`{key}" not in TEXT]
    assert missing == []


def test_every_output_is_explained() -> None:
    assert [output for output in READERS if f"`{output}`" not in TEXT] == []
