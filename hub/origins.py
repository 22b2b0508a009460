"""Which browsers may talk to the hub: Origin and Host of a request. No I/O."""

from __future__ import annotations

from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from hub.errors import SettingsError
from hub.settings import Settings

_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class Origins:
    """The origins that may connect: the hub's own and an allowlist.

    Bound to a loopback address, the hub also checks Host: without that, a page whose name is
    rebound to 127.0.0.1 would be of the same origin as the hub. Raises SettingsError where
    `origins` or `public_url` is not what it must be."""

    def __init__(self, settings: Settings) -> None:
        words = [word.strip() for word in settings.origins.split(",") if word.strip()]
        self._listed = frozenset(_setting("JOBCAST_ORIGINS", word, bare=True) for word in words)
        #: How many requests were refused.
        self.refused = 0
        self._public = (
            _setting("JOBCAST_PUBLIC_URL", settings.public_url, bare=False)
            if settings.public_url
            else None
        )
        bound = settings.host.strip("[]").lower()
        #: Names under which browsers reach a loopback hub itself; None: any name may be ours.
        self._own: frozenset[str] | None = None
        self._hosts: frozenset[str] | None = None
        if bound in _LOOPBACK or bound.startswith("127."):
            known = self._listed | ({self._public} if self._public else set())
            self._own = _LOOPBACK | {bound}
            self._hosts = self._own | {host for _, host, _ in known}

    def refusal(self, origin: str | None, host: str | None) -> str:
        """Why a request with these headers is not answered; empty where it is."""
        if not self.host_is_ours(host):
            why = "This Host is not the hub's: see JOBCAST_PUBLIC_URL."
        elif not self.may(origin, host):
            why = "This origin may not connect: see JOBCAST_ORIGINS."
        else:
            return ""
        self.refused += 1
        return why

    def host_is_ours(self, host: str | None) -> bool:
        """Whether a request with this Host header is meant for this hub."""
        if self._hosts is None:
            return True
        return host is not None and _host_name(host) in self._hosts

    def listed(self, origin: str) -> bool:
        """Whether it is on the allowlist, so that it is told so by CORS."""
        parsed = parse_origin(origin)
        return parsed is not None and parsed in self._listed

    def may(self, origin: str | None, host: str | None) -> bool:
        """Whether a request from this Origin may be answered. Whatever sends none is no browser,
        or the browser has not left the hub's own pages."""
        if origin is None:
            return True
        parsed = parse_origin(origin)
        if parsed is None:
            return False
        if parsed in self._listed or parsed == self._public:
            return True
        scheme, name, port = parsed
        # With a public URL, that is the hub's one origin, but for whoever talks to it directly.
        if (self._public is not None) if self._own is None else (name not in self._own):
            return False
        return host is not None and _host_parts(host, scheme) == (name, port)


Origin = tuple[str, str, int]


def parse_origin(origin: str) -> Origin | None:
    """Scheme, host and port of an Origin header (RFC 6454); None for `null` and nonsense."""
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or parts.username is not None:
        return None
    if parts.path or parts.query or parts.fragment:
        return None
    return parts.scheme, parts.hostname, port or _DEFAULT_PORTS[parts.scheme]


def _setting(name: str, value: str, *, bare: bool) -> Origin:
    text = value.rstrip("/") if bare else "://".join(urlsplit(value)[:2])
    parsed = parse_origin(text)
    if parsed is None:
        raise SettingsError(f"{name}: {value!r} must be like https://app.example.com")
    return parsed


def _host_parts(host: str, scheme: str) -> tuple[str, int] | None:
    parsed = parse_origin(f"{scheme}://{host}")
    return None if parsed is None else parsed[1:]


@lru_cache(maxsize=64)
def _host_name(host: str) -> str:
    parts = _host_parts(host, "http")
    return "" if parts is None else parts[0]
