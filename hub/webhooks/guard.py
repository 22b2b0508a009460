"""Keeps webhooks away from what is not the public Internet (SSRF). No I/O.

A URL is checked for its spelling when it is registered. Its addresses are vetted when they are
dialled (`hub.webhooks.dialer`) and not before, since a name may resolve to others by then.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Final, TypeAlias

from hub.errors import SettingsError

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

URL_CHARS: Final = 2048

#: The IANA special-purpose registries, multicast, and the v6 ranges that embed a v4 address.
#: `ipaddress.is_global` lets several of these through (6to4 relays, NAT64, AS112, SRv6).
BLOCKED: Final[tuple[Network, ...]] = tuple(
    ip_network(net)
    for net in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "::/96",
        "::ffff:0:0:0/96",
        "64:ff9b::/96",
        "64:ff9b:1::/48",
        "100::/64",
        "100:0:0:1::/64",
        "2001::/23",
        "2001:db8::/32",
        "2002::/16",
        "2620:4f:8000::/48",
        "3fff::/20",
        "5f00::/16",
        "fc00::/7",
        "fe80::/10",
        "fec0::/10",
        "ff00::/8",
    )
)

_LABEL: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_NUMERIC: Final = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
_URL: Final = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://"
    r"(?P<userinfo>[^/?#]*@)?"
    r"(?P<host>\[[^\]/?#]*\]|[^:/?#\[\]]*)"
    r"(?::(?P<port>[^/?#]*))?"
    r"(?P<target>[/?][^#]*)?"
    r"(?P<fragment>#.*)?"
)
_DEFAULT_PORTS: Final = {"https": 443, "http": 80}


class Refused(Exception):
    """The webhook may not go there; the text says why and what would be right."""


@dataclass(frozen=True, slots=True)
class Target:
    """A checked URL in parts, so that no second parser can read it differently.

    `host` is a lower-case name, or an address without brackets; `target` is path and query."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def host_header(self) -> str:
        """The value of `Host`: with brackets for IPv6, with the port unless it is the default."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


def parse_networks(text: str) -> tuple[Network, ...]:
    """The networks of the setting `webhook_allow_nets`: CIDRs or addresses, comma-separated.

    Raises SettingsError naming the one that is not a network."""
    networks: list[Network] = []
    for word in filter(None, (part.strip() for part in text.split(","))):
        try:
            networks.append(ip_network(word))
        except ValueError as error:
            raise SettingsError(
                f"JOBCAST_WEBHOOK_ALLOW_NETS: {word!r} is not a network such as 10.1.0.0/16:"
                f" {error}"
            ) from None
    return tuple(networks)


def unmap(address: Address) -> Address:
    """The v4 address inside ::ffff:0:0/96, else the address itself."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def vet(addresses: Sequence[str], allow_nets: Iterable[Network] = ()) -> tuple[Address, ...]:
    """All `addresses`, unmapped, each once, in their order, if every one may be dialled.

    One that may not is enough to refuse: a name with public and private answers is either a
    mistake or an attack. Raises Refused, also when there is none."""
    allowed = tuple(allow_nets)
    vetted: dict[Address, None] = {}
    for text in addresses:
        try:
            address = unmap(ip_address(text))
        except ValueError:
            raise Refused(f"{text!r} is not an address") from None
        if not _within(address, allowed) and _within(address, BLOCKED):
            raise Refused(
                f"{address} is not a public address; the operator may allow its network with"
                " JOBCAST_WEBHOOK_ALLOW_NETS"
            )
        vetted[address] = None
    if not vetted:
        raise Refused("the name has no address")
    return tuple(vetted)


def check_url(url: str, *, allow_http: bool = False, allow_nets: Iterable[Network] = ()) -> Target:
    """The parts of a webhook's URL.

    Only what can be known from its spelling is checked. Raises Refused, saying what would be
    right."""
    if len(url) > URL_CHARS:
        raise Refused(f"must have at most {URL_CHARS} characters")
    if not all("!" <= char <= "~" for char in url) or "\\" in url:
        raise Refused(
            "must be plain ASCII without spaces or backslashes: write the host as xn--… and"
            " percent-encode the rest"
        )
    parts = _URL.fullmatch(url)
    if parts is None:
        raise Refused("must be a whole URL such as https://example.com/hook")
    scheme = parts["scheme"].lower()
    if scheme not in _DEFAULT_PORTS or (scheme == "http" and not allow_http):
        raise Refused(
            "must start with https://"
            + (" or http://" if allow_http else " (the operator may allow http:// as well)")
        )
    if parts["userinfo"] is not None:
        raise Refused("must not have a user name or password before the host")
    if parts["fragment"] is not None:
        raise Refused("must not have a fragment (#…)")
    target = parts["target"] or "/"
    return Target(
        scheme=scheme,
        host=_host(parts["host"], tuple(allow_nets)),
        port=_port(parts["port"], scheme),
        target=target if target.startswith("/") else "/" + target,
    )


def _within(address: Address, networks: Iterable[Network]) -> bool:
    # `in` of an address of the other version is False; a scope id does not take part.
    return any(address in network for network in networks)


def _port(text: str | None, scheme: str) -> int:
    if text is None:
        return _DEFAULT_PORTS[scheme]
    port = int(text) if text.isdigit() and len(text) <= 5 else 0
    # Services on the other low ports speak protocols in which a request could be smuggled.
    if port not in _DEFAULT_PORTS.values() and not 1024 <= port <= 65535:
        raise Refused("the port must be 443, 80 or one from 1024 to 65535")
    return port


def _host(text: str, allow_nets: tuple[Network, ...]) -> str:
    if text.startswith("["):
        try:
            v6 = IPv6Address(text[1:-1])
        except ValueError:
            raise Refused(f"{text} is not an IPv6 address") from None
        if v6.scope_id is not None:
            raise Refused("an IPv6 address must not have a zone")
        vet([str(v6)], allow_nets)
        return str(v6)
    host = text.lower()
    labels = host.split(".")
    if not host or len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise Refused("must have a host: a DNS name such as example.com, or an address")
    if _NUMERIC.fullmatch(labels[-1]):
        # What resolvers read as an address, in any of its old spellings (127.1, 0x7f000001).
        try:
            v4 = IPv4Address(host)
        except ValueError:
            raise Refused("an IPv4 address must be written as four decimal numbers") from None
        vet([str(v4)], allow_nets)
        return host
    if host == "localhost" or host.endswith(".localhost"):
        try:
            vet(["127.0.0.1"], allow_nets)
        except Refused:
            vet(["::1"], allow_nets)
    return host
