"""The hub as a server of the Model Context Protocol. Only this file may be imported where the
package `mcp` is not installed."""

from __future__ import annotations

from importlib.util import find_spec

from hub.errors import SettingsError


def check_installed() -> None:
    """Raises SettingsError, saying what to install, where the extra is missing."""
    if find_spec("mcp") is None or find_spec("mcp_types") is None:
        raise SettingsError(
            "MCP needs a package that is not installed. Install it with: pip install 'jobcast[mcp]'"
        )
