"""The demo's screen: a session's, and what has come true so far."""

from __future__ import annotations

from rich.console import Console
from rich.rule import Rule
from rich.text import Text

from hub.cli.screen import Screen as SessionScreen


class Screen(SessionScreen):
    """`with Screen() as screen`: live cards in a terminal, plain lines elsewhere."""

    def __init__(self, console: Console | None = None) -> None:
        super().__init__(console or Console(highlight=False))

    def step(self, text: str) -> None:
        """Heads what comes now."""
        self.console.print()
        self.console.print(Rule(Text(text, style="dim"), align="left", style="dim"))

    def ok(self, text: str) -> None:
        """Something came true."""
        self.console.print(Text(f"  ✓ {text}", style="green"))
