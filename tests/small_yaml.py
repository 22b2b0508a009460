"""The YAML that `hub.tools` writes, read back."""

from __future__ import annotations

import json
from typing import Any


def parse(lines: list[str]) -> Any:
    """A reader of the small YAML that is written: block maps and lists of JSON scalars."""

    def block(start: int, indent: int) -> tuple[Any, int]:
        value: Any = None
        at = start
        while at < len(lines):
            line = lines[at]
            depth = len(line) - len(line.lstrip())
            if depth < indent:
                break
            if line.lstrip().startswith("- "):
                value = [] if value is None else value
                lines[at] = line.replace("- ", "  ", 1)
                item, at = block(at, indent + 2)
                value.append(item)
                continue
            value = {} if value is None else value
            name, _, rest = line.strip().partition(":")
            if rest.strip():
                value[name] = json.loads(rest)
                at += 1
            else:
                value[name], at = block(at + 1, depth + 2)
        return value, at

    return block(0, 0)[0]
