"""What may import what, by the code's own import statements."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

#: Modules that do no I/O: what is pure stays testable without any.
PURE = ["hub/states.py", "hub/events.py", "hub/answers.py", "hub/frames.py", "worker/retry.py"]
PURE += [str(path.relative_to(ROOT)) for path in (ROOT / "hub/feed").glob("*.py")]
DOES_IO = {"asyncio", "socket", "redis", "starlette", "uvicorn", "subprocess", "threading"}


def imports(path: Path) -> Iterator[str]:
    """The modules that a file imports when it runs, wherever in it the import stands."""
    tree = ast.parse(path.read_text())
    only_for_types = {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for child in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in only_for_types:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module


def files(folder: str) -> list[str]:
    return sorted(str(path.relative_to(ROOT)) for path in (ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("path", files("hub"))
def test_the_hub_never_imports_the_worker(path: str) -> None:
    assert [name for name in imports(ROOT / path) if name.split(".")[0] == "worker"] == []


@pytest.mark.parametrize("path", [*files("hub"), *files("worker")])
def test_the_product_never_imports_its_tests(path: str) -> None:
    assert not {"tests", "pytest", "bench"} & {n.split(".")[0] for n in imports(ROOT / path)}


@pytest.mark.parametrize("path", PURE)
def test_what_is_pure_does_no_io(path: str) -> None:
    assert not DOES_IO & {name.split(".")[0] for name in imports(ROOT / path)}
