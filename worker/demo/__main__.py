"""Starts a whole Jobcast on a temporary data directory and plays the conversation.

Exits 0 only if all of it came true; else 1, saying what did not."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections import deque
from pathlib import Path
from typing import Final

from hub.client import Client
from hub.errors import JobcastError
from worker.demo.client import Broken, Person
from worker.demo.play import play
from worker.demo.screen import Screen
from worker.stack import Stack

SESSION: Final = "chat:demo"
SCOPE: Final = "read cancel enqueue input approve"
WHOLE: Final = 420.0
TASKS: Final = Path(__file__).parents[2] / "jobcast.toml"


def main() -> int:
    """Returns the exit status."""
    # What the processes said is of interest only if something went wrong.
    said: deque[str] = deque(maxlen=60)
    try:
        with tempfile.TemporaryDirectory(prefix="jobcast-demo-") as folder:
            asyncio.run(_demo(Path(folder), said))
    except KeyboardInterrupt:
        return 130
    except (Broken, JobcastError, TimeoutError) as error:
        why = str(error) or f"it took more than {WHOLE:g} s"
        print("\n".join(["", *said, "", f"The demo failed: {why}."]), file=sys.stderr)
        return 1
    print("\nAll of it came true.")
    return 0


async def _demo(folder: Path, said: deque[str]) -> None:
    if not TASKS.exists():
        raise Broken("the demo is played in a checkout of Jobcast, on its sample project")
    async with asyncio.timeout(WHOLE):
        with Screen() as screen:
            screen.note("Starting Valkey, a hub and a worker…")
            stack = Stack(
                folder,
                tasks=str(TASKS),
                on_line=lambda name, line: said.append(f"{name:>7} │ {line}"),
            )
            async with stack:
                token = await _token(stack.url, stack.api_key)
                async with (
                    Client(stack.url, token) as client,
                    Person(client, SESSION, screen.changed) as person,
                ):
                    await play(person, screen)


async def _token(url: str, api_key: str) -> str:
    async with Client(url, api_key) as client:
        return (await client.new_token(sub="demo", sessions=[SESSION], scope=SCOPE)).token


if __name__ == "__main__":
    sys.exit(main())
