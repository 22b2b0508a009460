"""Renames a symbol in a copy of a project, and prints what that changes.

    python examples/refactor.py PROJECT OUT OLD NEW

Every use of the name as a name is changed, whatever it refers to; strings and comments are not. The
project itself is left as it is: the changed files and a patch are in OUT.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import io
import json
import keyword
import sys
import tokenize
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("project", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("old")
    parser.add_argument("new")
    options = parser.parse_args()
    for name in (options.old, options.new):
        if not name.isidentifier() or keyword.iskeyword(name):
            print(f"{name!r} is not a name", file=sys.stderr)
            return 2

    files = sorted(options.project.rglob("*.py"))
    sources = {path.relative_to(options.project): path.read_text("utf-8") for path in files}
    if any(options.new in names(text) for text in sources.values()):
        print(f"{options.new} is in use already: two things would become one", file=sys.stderr)
        return 1
    out = options.out / f"{options.old}-{options.new}"
    found, patch = 0, []
    for number, (name, text) in enumerate(sources.items(), 1):
        print(f"::jobcast progress {number}/{len(sources)} Reading {name}", flush=True)
        changed = rename(text, options.old, options.new)
        if changed == text:
            continue
        if line := still_used(changed, options.old):
            print(
                f"{name}:{line}: {options.old} is used in an f-string; mend it first",
                file=sys.stderr,
            )
            return 1
        found += names(text).count(options.old)
        lines = text.splitlines(True), changed.splitlines(True)
        diff = "".join(difflib.unified_diff(*lines, f"a/{name}", f"b/{name}"))
        print(diff, end="", flush=True)
        patch.append(diff)
        target = out / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(changed, "utf-8")
    if not found:
        print(f"nothing is called {options.old}", file=sys.stderr)
        return 1
    written = options.out / f"{out.name}.patch"
    written.write_text("".join(patch), "utf-8")
    told = {"renamed": found, "files": len(patch), "patch": str(written)}
    print("::jobcast result", json.dumps(told), flush=True)
    return 0


def names(text: str) -> list[str]:
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return [token.string for token in tokens if token.type == tokenize.NAME]


def rename(text: str, old: str, new: str) -> str:
    lines = text.splitlines(True)
    tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    # From the end, so that the columns of what is still to be changed stay true.
    for token in reversed(tokens):
        if token.type == tokenize.NAME and token.string == old:
            (row, start), (_, end) = token.start, token.end
            lines[row - 1] = lines[row - 1][:start] + new + lines[row - 1][end:]
    return "".join(lines)


def still_used(text: str, name: str) -> int | None:
    """The first line that still uses the name: before Python 3.12 an f-string is one token."""
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Name(id=used, lineno=line) | ast.Attribute(attr=used, lineno=line):
                if used == name:
                    return line
    return None


if __name__ == "__main__":
    raise SystemExit(main())
