"""Reports on a project: its modules, their lines, functions, docstrings and tests.

python examples/report.py PROJECT OUT [--format markdown|html]
"""

from __future__ import annotations

import argparse
import ast
import html
import json
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Module:
    """What is counted of one module."""

    name: str
    lines: int
    functions: int
    documented: int
    tests: int


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("project", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--format", choices=["markdown", "html"], default="markdown")
    options = parser.parse_args()
    files = sorted(options.project.rglob("*.py"))
    modules = []
    for number, path in enumerate(files, 1):
        name = str(path.relative_to(options.project))
        print(f"::jobcast progress {number}/{len(files) + 1} Reading {name}", flush=True)
        module = count(name, path.read_text("utf-8"))
        print(f"{name}: {module.lines} lines, {module.functions} functions, {module.tests} tests")
        modules.append(module)

    print(f"::jobcast progress {len(files) + 1}/{len(files) + 1} Writing the report", flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    title = options.project.resolve().name
    written = options.out / f"{title}.{'html' if options.format == 'html' else 'md'}"
    written.write_text(
        as_html(title, modules) if options.format == "html" else as_markdown(title, modules)
    )
    told = {
        "modules": len(modules),
        "lines": sum(module.lines for module in modules),
        "functions": sum(module.functions for module in modules),
        "documented": sum(module.documented for module in modules),
        "test_functions": sum(module.tests for module in modules),
        "report": str(written),
    }
    print("::jobcast result", json.dumps(told), flush=True)
    return 0


def count(name: str, text: str) -> Module:
    functions = [
        node
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    tests = [node for node in functions if node.name.startswith("test_")]
    return Module(
        name=name,
        lines=sum(bool(line.strip()) for line in text.splitlines()),
        functions=len(functions) - len(tests),
        documented=sum(ast.get_docstring(node) is not None for node in functions),
        tests=len(tests),
    )


def rows(modules: list[Module]) -> list[list[str]]:
    numbers = [[m.lines, m.functions, m.documented, m.tests] for m in modules]
    totals = [sum(column) for column in zip(*numbers, strict=True)]
    names = [*(module.name for module in modules), "in all"]
    return [[n, *map(str, row)] for n, row in zip(names, [*numbers, totals], strict=True)]


HEADS = ["module", "lines", "functions", "documented", "tests"]


def as_markdown(title: str, modules: list[Module]) -> str:
    lines = [HEADS, ["---"] * len(HEADS), *rows(modules)]
    return f"# {title}\n\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)


def as_html(title: str, modules: list[Module]) -> str:
    def cells(tag: str, words: list[str]) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(word)}</{tag}>" for word in words) + "</tr>\n"

    body = "".join(cells("td", row) for row in rows(modules))
    head = f"<!doctype html>\n<meta charset=utf-8>\n<title>{html.escape(title)}</title>\n"
    return f"{head}<h1>{html.escape(title)}</h1>\n<table>\n{cells('th', HEADS)}{body}</table>\n"


if __name__ == "__main__":
    raise SystemExit(main())
