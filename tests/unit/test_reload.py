"""What a worker that is started anew with its sources looks at."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from worker.reload import Sources


def write(path: Path, text: str, at: int) -> None:
    path.write_text(text)
    os.utime(path, ns=(at, at))


def test_a_source_that_is_mended_before_its_error_is_told_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source, other = tmp_path / "tasks.py", tmp_path / "other.py"
    write(source, "def broken(:", 1)
    write(other, "", 1)
    sources = Sources("tasks:app")
    write(source, "mended = 1", 2)

    sources.add(SyntaxError("no", (str(other), 1, 1, "")))

    assert sources.changed() == source
    assert sources.changed() is None
    write(other, "mended = 1", 2)
    assert sources.changed() == other
