"""`docs/settings.md`, made of the settings themselves: `python -m hub.settings_page`. Pure."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from hub.settings import Settings

_HEAD = """\
# Settings

<!-- Made by `make docs` from hub/settings.py. -->

Every setting is a variable, which hubs and workers read alike, and a flag of `jobcast hub`, which
wins. Durations are seconds, sizes bytes; switches are `on` or `off`. In Python:
`Settings.from_env()`, or `Settings(secret=…, …)`.

Secrets belong in variables, not in flags, which every user of the machine can read.

| variable | flag | default | meaning |
|---|---|---|---|
"""


def settings_page() -> str:
    """The page as Markdown, with a line for each setting."""
    return _HEAD + "".join(map(_row, fields(Settings)))


def _row(item: Any) -> str:
    flag = "--" + item.name.replace("_", "-")
    if isinstance(item.default, bool):
        flag = f"{flag}`, `--no-{flag[2:]}"
    meaning = item.metadata["help"].replace("|", "\\|")
    return f"| `JOBCAST_{item.name.upper()}` | `{flag}` | {_shown(item.default)} | {meaning} |\n"


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if value == "":
        return "–"
    if isinstance(value, str):
        return f"`{value}`"
    # As it may be typed: 1_000 and 6.048e+05 would be right, and strange.
    return str(int(value) if value == int(value) else value)


if __name__ == "__main__":
    print(settings_page(), end="")
