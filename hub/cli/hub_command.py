"""What every command that speaks to a hub shares: its flags, its output, its errors."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Final

import msgspec
import typer
from rich.console import Console, RenderableType
from rich.table import Table

from hub.cli.target import Target, find_target
from hub.client.errors import Unexpected, Unreachable
from hub.client.sync import SyncClient
from hub.errors import BadInput, JobcastError, Refused, Unauthenticated

#: The exit status of a command that could not do what it was asked for. A usage error is 2, and
#: the fate of a job that was followed 0, 1 or 2.
FAILED: Final = 3
#: A person waits: a hub that is away is told of soon.
TRIES: Final = 3
#: Pipes have no width: nothing is to be cut or wrapped there.
PIPE_WIDTH: Final = 10_000

_URL = typer.Option(
    "--url", help="the hub; JOBCAST_URL, or the jobcast dev of this directory", show_default=False
)
_TOKEN = typer.Option(
    "--token",
    help="a session token or an API key; better in JOBCAST_TOKEN or JOBCAST_API_KEY",
    show_default=False,
)
_JSON = typer.Option("--json", help="print JSON")


class Hub:
    """The hub that a command speaks to, and where it prints. `json` asks for JSON alone."""

    def __init__(self, client: SyncClient, *, json: bool) -> None:
        self.client = client
        self.json = json
        self.console = console()

    def say(self, *things: RenderableType) -> None:
        """Prints for people."""
        self.console.print(*things)

    def put(self, value: Any) -> None:
        """Prints a value as JSON: spread out in a terminal, one line elsewhere."""
        raw = msgspec.json.encode(value)
        if self.console.is_terminal:
            raw = msgspec.json.format(raw, indent=2)
        sys.stdout.write(raw.decode() + "\n")
        sys.stdout.flush()


def console() -> Console:
    """Standard output, for people in a terminal and as plain lines elsewhere."""
    found = Console(highlight=False, markup=False)
    return found if found.is_terminal else Console(highlight=False, markup=False, width=PIPE_WIDTH)


def table(columns: Iterable[str], rows: Iterable[Iterable[RenderableType]]) -> Table:
    """Columns without lines between them, which `cut` and `awk` can read too."""
    made = Table(box=None, pad_edge=False, header_style="dim")
    for column in columns:
        made.add_column(column, overflow="fold")
    for row in rows:
        made.add_row(*row)
    return made


def hub_command(command: Callable[..., None]) -> Callable[..., None]:
    """A typer command whose first parameter is the Hub: made of `--url`, `--token` and `--json`,
    which it gets beside its own parameters. Whatever goes wrong is one or two sentences."""
    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
    keyword = inspect.Parameter.KEYWORD_ONLY
    flags = [
        inspect.Parameter("url", keyword, default=None, annotation=Annotated[str | None, _URL]),
        inspect.Parameter("token", keyword, default=None, annotation=Annotated[str | None, _TOKEN]),
        inspect.Parameter("as_json", keyword, default=False, annotation=Annotated[bool, _JSON]),
    ]

    def wrapped(**values: Any) -> None:
        target = find_target(values.pop("url"), values.pop("token"), os.environ)
        json = values.pop("as_json")
        with (
            plain_failures(target),
            SyncClient(target.url, target.token, tries=TRIES) as client,
        ):
            command(Hub(client, json=json), **values)

    parameters = [*own, *flags]
    wrapped.__name__, wrapped.__doc__ = command.__name__, command.__doc__
    wrapped.__annotations__ = {p.name: p.annotation for p in parameters}
    # What typer reads: it knows nothing of keywords that are not spelt out.
    vars(wrapped)["__signature__"] = inspect.Signature(parameters)
    return wrapped


@contextmanager
def plain_failures(target: Target) -> Iterator[None]:
    """Says what went wrong and what to do about it, on standard error, and exits with 3."""
    try:
        yield
    except JobcastError as error:
        for line in words(error, target):
            print(f"jobcast: {line}", file=sys.stderr)
        raise typer.Exit(FAILED) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except BrokenPipeError:
        # Whoever read it has enough; the interpreter must not try to write what is left.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from None


def words(error: JobcastError, target: Target) -> list[str]:
    """An error as lines for a person: what happened, and what to do next."""
    match error:
        case BadInput():
            lines = [
                f"{pointer.strip('/').replace('/', '.')}: {text}" if pointer else text
                for pointer, text in error.errors
            ]
        case Unexpected():
            lines = [f"{target.url}: {error}"]
        case _:
            lines = [str(error)]
    if isinstance(error, Unreachable):
        lines.append(_unreachable(target))
    elif isinstance(error, Unauthenticated):
        lines.append("Give a session token or an API key: --token, JOBCAST_TOKEN, JOBCAST_API_KEY.")
    elif isinstance(error, Refused) and target.token is not None:
        lines.append("Ask for a token that covers it: jobcast token --session … --scope …")
    return lines


def _unreachable(target: Target) -> str:
    if target.source:
        return f"The address is from {target.source}. Is the hub there, and does it run?"
    return "Start one with: jobcast dev — or say where it is: --url or JOBCAST_URL."
