"""Commands that are imported when they are run: a command costs what it needs itself, and the list
of all of them costs nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from typing import Any, NamedTuple

import typer
import typer.main
from typer.core import TyperCommand, TyperGroup


class Lazy(NamedTuple):
    """A command that is not imported yet: `module:name` of a function or a Typer, and what the
    list of commands says of it, which is the first paragraph of its help."""

    target: str
    help: str


def lazy_app(about: str, table: Mapping[str, Lazy]) -> typer.Typer:
    """The command line of these commands."""

    class Group(LazyGroup):
        def __init__(self, **attributes: Any) -> None:
            super().__init__(table, **attributes)

    app = typer.Typer(
        name="jobcast", cls=Group, no_args_is_help=True, pretty_exceptions_enable=False
    )

    @app.callback(help=about)
    def root() -> None:
        pass

    return app


class LazyGroup(TyperGroup):
    """A group that knows its commands by a table. In `commands` each is what it is, and imported;
    `get_command`, of which help and completion are made, answers with its name and help alone."""

    def __init__(self, table: Mapping[str, Lazy], **attributes: Any) -> None:
        super().__init__(**attributes)
        self._table = table
        self.commands: Any = _Commands(table)

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self._table)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        lazy = self._table.get(cmd_name)
        return None if lazy is None else TyperCommand(cmd_name, help=lazy.help)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] in self._table:
            return args[0], self.commands[args[0]], args[1:]
        return super().resolve_command(ctx, args)


class _Commands(Mapping[str, Any]):
    def __init__(self, table: Mapping[str, Lazy]) -> None:
        self._table = table

    def __getitem__(self, name: str) -> Any:
        return _loaded(name, self._table[name].target)

    def __iter__(self) -> Iterator[str]:
        return iter(self._table)

    def __len__(self) -> int:
        return len(self._table)


@cache
def _loaded(name: str, target: str) -> Any:
    module, _, attribute = target.partition(":")
    found = getattr(import_module(module), attribute)
    if isinstance(found, typer.Typer):
        return typer.main.get_group(found)
    alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    alone.command(name)(found)
    return typer.main.get_command(alone)
