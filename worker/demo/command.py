"""`jobcast demo`: the conversation, played and checked."""

from __future__ import annotations

import typer


def demo() -> None:
    """Play the conversation of the README in this terminal, and check that all of it comes true.

    Starts a whole Jobcast on a temporary directory and ends it again; needs a checkout."""
    from worker.demo.__main__ import main

    raise typer.Exit(main())
