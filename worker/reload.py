"""`--reload`: a worker ends when a source of its tasks changes, and its warden starts a new one."""

from __future__ import annotations

import asyncio
import sys
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

#: Seconds between two looks at the files.
LOOK: Final = 0.3


class Sources:
    """The files that a worker was made of: the toml file or module that it serves, and the modules
    in the working directory that are loaded, whenever that came to be."""

    def __init__(self, target: str | None) -> None:
        self._home = Path.cwd()
        self._more: set[Path] = set()
        self._seen: dict[Path, int] = {}
        if target is not None and target.endswith(".toml"):
            self._more.add(Path(target).absolute())
        elif target is not None:
            path = self._home.joinpath(*target.partition(":")[0].split("."))
            self._more |= {path.with_suffix(".py"), path / "__init__.py"}
        self.changed()

    def add(self, error: BaseException) -> None:
        """Files that an error of loading them came from. What has changed meanwhile has."""
        if isinstance(error, SyntaxError) and error.filename:
            self._more.add(Path(error.filename))
        self._more |= {Path(each.filename) for each in traceback.extract_tb(error.__traceback__)}
        for path in self._files():
            self._seen.setdefault(path, _time(path))

    def changed(self) -> Path | None:
        """A file that is not as it was at the last look, or None."""
        found = None
        for path in self._files():
            at = _time(path)
            if self._seen.setdefault(path, at) != at:
                self._seen[path] = at
                found = path
        return found

    async def until_changed(self) -> Path:
        """Looks until a file has changed."""
        while True:
            # Not in the loop: the disk may be a slow one.
            path = await asyncio.to_thread(self.changed)
            if path is not None:
                return path
            await asyncio.sleep(LOOK)

    def _files(self) -> Iterator[Path]:
        yield from self._more
        yield from self._loaded(list(sys.modules.values()))

    def _loaded(self, modules: Iterable[object]) -> Iterator[Path]:
        for module in modules:
            file = getattr(module, "__file__", None)
            if isinstance(file, str) and file.endswith(".py"):
                path = Path(file)
                inside = path.is_relative_to(self._home)
                if inside and "site-packages" not in path.parts:
                    yield path


def _time(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
