"""`docs/cli.md`, made of the commands themselves: `python -m worker.cli_page`. Pure."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import Any, Final

import typer.main

from worker.cli import command_line

HEAD: Final = """\
# The command line

Made of the commands themselves by `make docs`; a test holds it to them.

Commands that speak to a hub take its address from `--url` or `JOBCAST_URL` and their credential
from `--token`, `JOBCAST_TOKEN` or `JOBCAST_API_KEY`. In a directory in which `jobcast dev` runs
they find both by themselves. With `--json` they print JSON alone: one document, or one line for
each event. `jobcast --install-completion` teaches your shell.

```sh
jobcast tasks                                        # what can be queued
jobcast enqueue run_tests keyword=auth --watch       # queue, follow, exit with the job's fate
jobcast watch chat:main                              # live cards; plain lines in a pipe
jobcast logs -f 01991f7c-2b6a-7c3d-8e4f-0123456789ab
jobcast jobs --status failed --json
jobcast doctor                                       # is the server as it should be?
```

Exit status: 0 done; 3 it could not be done (standard error says why, and what to do next); 2 wrong
usage or settings; 130 interrupted. With `--watch`: 0 completed, 1 failed, 2 cancelled. `doctor`: 1
where something is a problem.
"""


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for path, command in _commands(typer.main.get_command(command_line()), "jobcast"):
        parts.append(_section(path, command))
    return "\n".join(parts)


def _commands(group: Any, path: str) -> Iterator[tuple[str, Any]]:
    for name, command in sorted(group.commands.items()):
        if hasattr(command, "commands"):
            yield from _commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def _section(path: str, command: Any) -> str:
    shown = [p for p in command.params if p.name != "help"]
    arguments = [p for p in shown if p.param_type_name == "argument"]
    # Settings are flags of `hub` as well: docs/settings.md has them.
    settings = [p for p in shown if getattr(p, "rich_help_panel", None) == "Settings"]
    options = [p for p in shown if p not in arguments and p not in settings]
    names = " ".join([path, *(_name(p) for p in arguments)])
    text = [f"## `{names}`", "", _plain(command.help), ""]
    rows = [f"- `{_name(p)}`: {_plain(p.help)}" for p in arguments if p.help]
    rows += [f"- `{_flags(p)}`: {_plain(p.help)}{_default(p)}" for p in options]
    if settings:
        rows.append("- and every setting as a flag: see [settings.md](settings.md)")
    return "\n".join(text + rows + ([""] if rows else []))


def _name(argument: Any) -> str:
    name = str(argument.metavar or argument.name.upper())
    return name if argument.required or name.startswith("[") else f"[{name}]"


def _flags(option: Any) -> str:
    words = ", ".join([*option.opts, *option.secondary_opts])
    return words if option.is_flag else f"{words} {option.opts[0].lstrip('-').upper()}"


def _default(option: Any) -> str:
    if option.is_flag or option.default in (None, "", ()) or callable(option.default):
        return ""
    return f" (default: {option.default})"


def _plain(text: str | None) -> str:
    """A docstring's paragraphs, each on one line."""
    found = "\n\n".join(" ".join(part.split()) for part in re.split(r"\n\s*\n", text or ""))
    return found.strip()


if __name__ == "__main__":
    sys.stdout.write(page())
