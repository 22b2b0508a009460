"""Nobody who does not use another queue imports it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIBRARIES = {"arq", "celery", "dramatiq", "kombu", "rq", "saq", "taskiq", "taskiq_redis"}


def test_the_base_and_the_command_import_no_other_queue() -> None:
    code = (
        "import sys, worker.cli, worker.runner, hub.app\n"
        "import worker.integrations, worker.integrations.reporter\n"
        f"print([name for name in {sorted(LIBRARIES)!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "path", sorted((ROOT / "worker").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT))
)
def test_only_its_own_module_imports_a_queue(path: Path) -> None:
    own = {path.stem, "kombu"} if path.parent.name == "integrations" else set()
    if path.stem == "taskiq":
        own.add("taskiq_redis")
    named = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            named |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            named.add(node.module.split(".")[0])
    assert named & LIBRARIES <= own
