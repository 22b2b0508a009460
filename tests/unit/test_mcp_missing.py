"""The package `mcp` is imported only where MCP is spoken, and missed with a clear word."""

from __future__ import annotations

import subprocess
import sys

import pytest

from hub import mcp
from hub.errors import SettingsError


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcp, "find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r"pip install 'jobcast\[mcp\]'"):
        mcp.check_installed()


def test_extras_are_not_imported_unless_used() -> None:
    code = (
        "import sys, hub.app, hub.cli, worker.serve, worker.agent_task;"
        "names = ('mcp', 'mcp_types', 'openai', 'pydantic');"
        "print([name for name in names if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
