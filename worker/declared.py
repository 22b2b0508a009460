"""Runs a declared command for a job: its lines become progress, its end the result or the error."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from worker.command import CommandFailed
from worker.command_line import CommandLine
from worker.markers import Result, read_marker
from worker.pytest_output import PytestOutput
from worker.toml_params import as_text

if TYPE_CHECKING:
    from worker.context import Context

__all__ = ["READERS", "Declared", "Reader"]

MAX_QUOTED: Final = 500


class Reader:
    """Makes sense of the stdout of one run. This one takes it for what it is: a log."""

    #: Whether some lines are not for people; `is_log` tells which are.
    hides: bool = False

    def is_log(self, line: str) -> bool:
        """Whether a line belongs in the job's log."""
        return True

    def feed(self, line: str) -> tuple[float, int | None, str | None] | None:
        """Progress as (current, total, message) if this line changed it; without a total,
        ``current`` is a percentage."""
        return None

    def succeeded(self, returncode: int) -> bool:
        """Whether the command did its work."""
        return returncode == 0

    def result(self, returncode: int) -> Any:
        """The job's result, after a success."""
        return {"exit_code": returncode}

    def failure(self, returncode: int) -> str | None:
        """What this exit code means, where the command's kind says so."""
        return None


class MarkerReader(Reader):
    """``output = "jobcast"``: the lines of worker/markers.py."""

    hides = True

    def __init__(self) -> None:
        self._result: Result | None = None

    def is_log(self, line: str) -> bool:
        return read_marker(line) is None

    def feed(self, line: str) -> tuple[float, int | None, str | None] | None:
        marker = read_marker(line)
        if isinstance(marker, Result):
            self._result = marker
            return None
        return marker

    def result(self, returncode: int) -> Any:
        return self._result.value if self._result else super().result(returncode)


class PytestReader(Reader):
    """``output = "pytest"``. Tests that fail are a result: the run did its work."""

    # https://docs.pytest.org/en/stable/reference/exit-codes.html
    ENDS: Final = {
        2: "pytest was interrupted",
        3: "pytest had an internal error",
        4: "pytest found no such test, or was used wrongly",
        5: "pytest found no tests",
    }

    def __init__(self) -> None:
        self._output = PytestOutput()

    def feed(self, line: str) -> tuple[float, int | None, str | None] | None:
        return self._output.feed(line)

    def succeeded(self, returncode: int) -> bool:
        return returncode in (0, 1)

    def result(self, returncode: int) -> Any:
        return self._output.summary()

    def failure(self, returncode: int) -> str | None:
        return self.ENDS.get(returncode)


READERS: Final[Mapping[str, Callable[[], Reader]]] = {
    "plain": Reader,
    "jobcast": MarkerReader,
    "pytest": PytestReader,
}


class Declared:
    """One declared command; ``run`` is the function of its task.

    ``cwd``      directory that the command runs in
    ``env``      variables besides the worker's allowlisted ones
    ``command``  what to run; a string is a script for ``/bin/sh -c``, which finds its params in its
                 environment, as ``PARAM_`` and their name in capitals: they are never pasted in
    ``reader``   makes the reader of a run
    """

    def __init__(
        self,
        name: str,
        command: CommandLine | str,
        *,
        cwd: Path,
        env: Mapping[str, str],
        reader: Callable[[], Reader],
    ) -> None:
        self._name = name
        self._command = command
        self._cwd = cwd
        self._env = dict(env)
        self._reader = reader

    async def run(self, context: Context, **params: Any) -> Any:
        """Run it. Raises CommandFailed, and what ``ctx.run`` raises."""
        reader = self._reader()
        code = 0
        try:
            async for line in context.run(
                self.argv(params),
                cwd=self._cwd,
                env=self.environment(params),
                log=not reader.hides,
            ):
                if reader.hides and (line.stream != "stdout" or reader.is_log(line.text)):
                    await context.log(line.text, line.stream)
                if line.stream == "stdout" and (progress := reader.feed(line.text)):
                    current, total, message = progress
                    await context.progress(current, total, message=message)
        except CommandFailed as error:
            code = error.returncode
            if not reader.succeeded(code):
                what = reader.failure(code) or f"{self._name} failed"
                quoted = f": {error.last_line[:MAX_QUOTED]}" if error.last_line else ""
                raise CommandFailed(
                    f"{what} ({_ending(code)}){quoted}", code, error.last_line
                ) from None
        return reader.result(code)

    def argv(self, params: Mapping[str, Any]) -> list[str]:
        """The words to run, for params that have been checked."""
        if isinstance(self._command, CommandLine):
            return self._command.argv(params)
        return ["/bin/sh", "-c", self._command, self._name]

    def environment(self, params: Mapping[str, Any]) -> dict[str, str]:
        """The variables to add, for params that have been checked."""
        # `python` and `pytest` are those of the environment that the worker itself runs in.
        path = os.pathsep.join(
            (str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath))
        )
        env = {"PATH": path, **self._env}
        if isinstance(self._command, str):
            env |= {f"PARAM_{name.upper()}": as_text(value) for name, value in params.items()}
        return env


def _ending(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
