"""Where a hub is: its URL, taken apart. No I/O but a look at the environment's proxies."""

from __future__ import annotations

import urllib.request
from typing import NamedTuple
from urllib.parse import urlsplit

from hub.errors import SettingsError


class Address(NamedTuple):
    """The addresses of a hub's HTTP and WebSockets, without a slash at their ends."""

    http: str
    ws: str
    host: str

    @property
    def secure(self) -> bool:
        """Whether it is spoken to over TLS."""
        return self.http.startswith("https:")

    @property
    def proxy(self) -> str | None:
        """The proxy that the environment asks for (`HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY`)."""
        proxies = urllib.request.getproxies()
        found = proxies.get("https" if self.secure else "http") or proxies.get("all")
        if not found or urllib.request.proxy_bypass(self.host):
            return None
        return found if "://" in found else f"http://{found}"


def address_of(url: str) -> Address:
    """Takes a URL apart; a path (for a hub mounted below one) is kept. Raises SettingsError where
    it is no http or https URL, or holds credentials."""
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        port = parts.port
    except ValueError:
        raise SettingsError(f"{url!r} is not a URL.") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SettingsError(f"{url!r} is not the address of a hub, such as http://127.0.0.1:8080.")
    if parts.username is not None or parts.query or parts.fragment:
        raise SettingsError("The address of a hub has no credentials, query or fragment.")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    rest = (host if port is None else f"{host}:{port}") + parts.path.rstrip("/")
    ws = "wss" if parts.scheme == "https" else "ws"
    return Address(f"{parts.scheme}://{rest}", f"{ws}://{rest}", parts.hostname)
