"""`jobcast dev`: one command that runs everything, and prints the link that signs a browser in."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from hub.errors import SettingsError
from worker.stack import Stack

DEFAULT_TASKS = "jobcast.toml"
DEFAULT_PORT = 8080
DEFAULT_DATA_DIR = Path(".jobcast")


def dev(
    tasks: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODULE_OR_TOML]",
            help=f"what the worker serves; ./{DEFAULT_TASKS} unless said",
            show_default=False,
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="address to bind to")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="port to bind to; 0 picks one")] = DEFAULT_PORT,
    data_dir: Annotated[
        Path, typer.Option(help="where jobs, secret and API key are kept")
    ] = DEFAULT_DATA_DIR,
    concurrency: Annotated[int, typer.Option("--concurrency", "-c", help="jobs at once")] = 8,
    reload: Annotated[
        bool, typer.Option("--reload", help="start the worker anew when a source changes")
    ] = False,
    open_browser: Annotated[
        bool, typer.Option("--open", help="open the link in a browser")
    ] = False,
) -> None:
    """Run everything: an embedded Valkey, a hub, a worker and the page."""
    if tasks is None and Path(DEFAULT_TASKS).exists():
        tasks = DEFAULT_TASKS
    try:
        stack = Stack(
            data_dir,
            host=host,
            port=port,
            tasks=tasks,
            concurrency=concurrency,
            reload=reload,
            on_line=_print_line,
        )
        asyncio.run(_serve(stack, open_browser))
    except SettingsError as error:
        typer.echo(f"jobcast dev: {error}", err=True)
        raise typer.Exit(2) from None


async def _serve(stack: Stack, open_browser: bool) -> None:
    loop = asyncio.get_running_loop()
    stop, enter = asyncio.Event(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    stopping = asyncio.ensure_future(_until(stop))
    async with contextlib.AsyncExitStack() as exits:
        exits.callback(stopping.cancel)
        entering = asyncio.ensure_future(exits.enter_async_context(stack))
        await asyncio.wait({entering, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not entering.done():
            entering.cancel()
            await asyncio.wait({entering})
            return
        await entering
        link = await stack.link()
        _say(f"\n  Jobcast is ready. Open this link; it signs you in once:\n\n    {link}\n")
        _say(f"  Data is in {stack.data_dir}. Press Enter for a fresh link, Ctrl-C to stop.\n")
        if open_browser:
            await asyncio.to_thread(webbrowser.open, link)
        _on_enter(loop, enter)
        while not stop.is_set():
            pressed = asyncio.ensure_future(enter.wait())
            await asyncio.wait({pressed, stopping}, return_when=asyncio.FIRST_COMPLETED)
            pressed.cancel()
            if enter.is_set() and not stop.is_set():
                enter.clear()
                _say(f"    {await stack.link()}")
        _say("\n  Stopping…")
    _say("  Stopped. Jobs are kept; start again to go on.")


async def _until(event: asyncio.Event) -> None:
    await event.wait()


def _on_enter(loop: asyncio.AbstractEventLoop, enter: asyncio.Event) -> None:
    """Sets `enter` for each line on standard input, where that is something one can type into."""
    try:
        fd = sys.stdin.fileno()
    except (OSError, ValueError):
        return

    def readable() -> None:
        try:
            data = os.read(fd, 4096)
        except OSError:
            data = b""
        if data:
            enter.set()
        else:
            loop.remove_reader(fd)

    # A regular file or /dev/null cannot be watched, and nobody types there.
    with contextlib.suppress(OSError):
        loop.add_reader(fd, readable)


def _say(text: str) -> None:
    with contextlib.suppress(BrokenPipeError):
        print(text, flush=True)


def _print_line(name: str, line: str) -> None:
    with contextlib.suppress(BrokenPipeError):
        print(f"{name:>7} │ {line}", file=sys.stderr, flush=True)
