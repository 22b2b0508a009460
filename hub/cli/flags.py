"""Every setting as a flag, for any command: made of `Settings`, so that there is one list."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Annotated, Any

import typer

from hub.errors import JobcastError
from hub.settings import Settings


def with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """A typer command whose first parameter is the Settings: from `JOBCAST_*`, and the flags,
    which win. Other parameters are the command's own."""
    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
    taken = {parameter.name for parameter in own}
    names = [item.name for item in fields(Settings) if item.name not in taken]
    flags = [_flag(item) for item in fields(Settings) if item.name not in taken]

    def wrapped(**values: Any) -> None:
        given = {name: values.pop(name) for name in names}
        with plain_errors():
            command(Settings.from_env(**given), **values)

    parameters = [*own, *flags]
    wrapped.__name__, wrapped.__doc__ = command.__name__, command.__doc__
    wrapped.__annotations__ = {p.name: p.annotation for p in parameters}
    # What typer reads: it knows nothing of keywords that are not spelt out.
    vars(wrapped)["__signature__"] = inspect.Signature(parameters)
    return wrapped


def _flag(item: Any) -> inspect.Parameter:
    kind = type(item.default)
    flag = "--" + item.name.replace("_", "-")
    words = f"{flag}/--no-{flag[2:]}" if kind is bool else flag
    default = {True: "on", False: "off"}.get(item.default) if kind is bool else item.default
    help_text = item.metadata["help"] + (f" (default: {default})" if default != "" else "")
    option = typer.Option(words, help=help_text, show_default=False, rich_help_panel="Settings")
    return inspect.Parameter(
        item.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[kind | None, option],
    )


@contextmanager
def plain_errors() -> Iterator[None]:
    """What Jobcast raises on purpose is a sentence for people: it ends the command with 2, and no
    traceback."""
    try:
        yield
    except JobcastError as error:
        print(f"jobcast: {error}", file=sys.stderr)
        raise typer.Exit(2) from None
