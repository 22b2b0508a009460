"""Which hub a command speaks to, and with which credential.

In this order: the flags; `JOBCAST_URL`, and `JOBCAST_TOKEN` or `JOBCAST_API_KEY`; a `jobcast dev`
that runs on this directory's `.jobcast`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

DEFAULT_URL: Final = "http://127.0.0.1:8080"
DATA_DIR: Final = Path(".jobcast")
#: What `jobcast dev` keeps in its data directory: its address (while it runs) and its API key.
URL_FILE: Final = "url"
KEY_FILE: Final = "api-key"


class Target(NamedTuple):
    """A hub; `source` says where its address is from, for errors."""

    url: str
    token: str | None
    source: str


def find_target(
    url: str | None, token: str | None, env: Mapping[str, str], folder: Path = DATA_DIR
) -> Target:
    """The hub to speak to. The API key of a data directory goes to its own `jobcast dev` alone."""
    given = url or env.get("JOBCAST_URL")
    credential = token or env.get("JOBCAST_TOKEN") or env.get("JOBCAST_API_KEY")
    if given:
        return Target(given, credential, "--url" if url else "JOBCAST_URL")
    if (found := _read(folder / URL_FILE)) is not None:
        return Target(found, credential or _read(folder / KEY_FILE), str(folder / URL_FILE))
    return Target(DEFAULT_URL, credential, "")


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip() or None
    except (OSError, UnicodeDecodeError):
        return None
