"""Which URLs and addresses a webhook may have."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.errors import SettingsError
from hub.webhooks.guard import BLOCKED, Refused, Target, check_url, parse_networks, unmap, vet

PRIVATE = [
    "0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "127.255.255.254", "169.254.169.254",
    "172.16.0.1", "172.31.255.255", "192.0.0.8", "192.0.2.1", "192.31.196.1", "192.52.193.1",
    "192.88.99.1", "192.168.1.1", "192.175.48.1", "198.18.0.1", "198.19.255.255", "198.51.100.7",
    "203.0.113.9", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:a9fe:a9fe", "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "100::1", "100:0:0:1::1",
    "2001::1", "2001:0:53aa:64c:0:7fff:80ff:fffe", "2001:10::1", "2001:db8::1",
    "2002:7f00:1::1", "2002:a9fe:a9fe::1", "2620:4f:8000::1", "3fff::1", "5f00::1",
    "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1",
]  # fmt: skip
PUBLIC = [
    "1.1.1.1", "9.9.9.9", "93.184.215.14", "100.63.255.255", "100.128.0.0", "172.15.255.255",
    "172.32.0.0", "192.0.1.1", "192.167.255.255", "198.17.255.255", "198.20.0.0", "223.255.255.255",
    "::ffff:1.1.1.1", "2606:4700:4700::1111", "2a00:1450:4001:81b::200e", "2001:4860:4860::8888",
]  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
def test_what_is_not_public_is_refused(address: str) -> None:
    with pytest.raises(Refused, match="not a public address"):
        vet([address])


@pytest.mark.parametrize("address", PUBLIC)
def test_what_is_public_is_vetted(address: str) -> None:
    assert vet([address]) == (unmap(ip_address(address)),)


@given(st.ip_addresses())
def test_nothing_passes_that_the_standard_library_calls_private(
    address: IPv4Address | IPv6Address,
) -> None:
    try:
        (vetted,) = vet([str(address)])
    except Refused:
        return
    assert vetted.is_global
    assert not vetted.is_multicast
    assert not any(vetted in network for network in BLOCKED)


def test_one_private_answer_among_public_ones_refuses_all() -> None:
    with pytest.raises(Refused, match=r"10\.0\.0\.1"):
        vet(["1.1.1.1", "10.0.0.1"])


@pytest.mark.parametrize("addresses", [[], ["nonsense"], ["127.1"], ["1.1.1.1", ""]])
def test_an_answer_that_is_no_address_is_refused(addresses: list[str]) -> None:
    with pytest.raises(Refused):
        vet(addresses)


def test_the_allowlist_opens_its_networks_and_no_others() -> None:
    allowed = parse_networks("10.1.0.0/16, fd00::/8,127.0.0.1")
    assert vet(["10.1.2.3", "1.1.1.1", "fd00::1"], allowed) == (
        ip_address("10.1.2.3"),
        ip_address("1.1.1.1"),
        ip_address("fd00::1"),
    )
    assert vet(["::ffff:10.1.2.3"], allowed) == (ip_address("10.1.2.3"),)
    for other in ("10.2.0.1", "127.0.0.2", "fe80::1"):
        with pytest.raises(Refused):
            vet([other], allowed)


@pytest.mark.parametrize("text", ["10.1.0.0/33", "ten", "10.1.2.3/16", "example.com"])
def test_a_bad_allowlist_names_its_word(text: str) -> None:
    with pytest.raises(SettingsError, match=text):
        parse_networks(f"10.1.0.0/16,{text}")


def test_an_empty_allowlist_is_empty() -> None:
    assert parse_networks(" , ") == ()


@pytest.mark.parametrize(
    ("url", "target", "host_header"),
    [
        ("https://example.com", Target("https", "example.com", 443, "/"), "example.com"),
        (
            "HTTPS://Example.COM:8443/a/b?c=d",
            Target("https", "example.com", 8443, "/a/b?c=d"),
            "example.com:8443",
        ),
        ("https://example.com?x", Target("https", "example.com", 443, "/?x"), "example.com"),
        ("https://1.1.1.1:443/", Target("https", "1.1.1.1", 443, "/"), "1.1.1.1"),
        (
            "https://[2606:4700:4700::1111]:8443/x",
            Target("https", "2606:4700:4700::1111", 8443, "/x"),
            "[2606:4700:4700::1111]:8443",
        ),
        (
            "https://a_b.xn--80ak6aa92e.com/",
            Target("https", "a_b.xn--80ak6aa92e.com", 443, "/"),
            "",
        ),
    ],
)
def test_a_good_url_is_taken_apart(url: str, target: Target, host_header: str) -> None:
    assert check_url(url) == target
    assert target.host_header == host_header or not host_header


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://example.com/", "must start with https://"),
        ("ftp://example.com/", "must start with https://"),
        ("file:///etc/passwd", "must start with https://"),
        ("example.com/hook", "whole URL"),
        ("https:/example.com/", "whole URL"),
        ("", "whole URL"),
        ("https://", "must have a host"),
        ("https:///path", "must have a host"),
        ("https://:443/", "must have a host"),
        ("https://user@example.com/", "user name"),
        ("https://user:secret@example.com/", "user name"),
        ("https://example.com:80@10.0.0.1/", "user name"),
        ("https://example.com/#part", "fragment"),
        ("https://example.com:0/", "port"),
        ("https://example.com:22/", "port"),
        ("https://example.com:65536/", "port"),
        ("https://example.com:/", "port"),
        ("https://example.com:+443/", "port"),
        ("https://example.com:443:443/", "port"),
        ("https://example.com/ a", "plain ASCII"),
        ("https://example.com/\n", "plain ASCII"),
        ("https://example.com\\@10.0.0.1/", "plain ASCII"),
        ("https://ex\u00e4mple.com/", "plain ASCII"),
        ("https://\u2460\u2461\u2466.0.0.1/", "plain ASCII"),
        ("https://\uff11\uff12\uff17.0.0.1/", "plain ASCII"),
        ("https://127\u30020\u30020\u30021/", "plain ASCII"),
        ("https://127%2e0%2e0%2e1/", "must have a host"),
        ("https://example.com./", "must have a host"),
        ("https://example..com/", "must have a host"),
        ("https://-example.com/", "must have a host"),
        (f"https://{'a' * 64}.com/", "must have a host"),
        ("https://127.1/", "four decimal numbers"),
        ("https://2130706433/", "four decimal numbers"),
        ("https://0x7f000001/", "four decimal numbers"),
        ("https://0x7f.0.0.1/", "four decimal numbers"),
        ("https://127.0.0.0x1/", "four decimal numbers"),
        ("https://0177.0.0.1/", "four decimal numbers"),
        ("https://127.0.0.01/", "four decimal numbers"),
        ("https://1.2.3.4.5/", "four decimal numbers"),
        ("https://0x/", "four decimal numbers"),
        ("https://127.0.0.1/", "not a public address"),
        ("https://169.254.169.254/latest/meta-data", "not a public address"),
        ("https://localhost/", "not a public address"),
        ("https://LOCALHOST:8443/", "not a public address"),
        ("https://api.localhost/", "not a public address"),
        ("https://[::1]/", "not a public address"),
        ("https://[::ffff:127.0.0.1]/", "not a public address"),
        ("https://[64:ff9b::7f00:1]/", "not a public address"),
        ("https://[2002:7f00:1::]/", "not a public address"),
        ("https://[2001:0:53aa:64c::1]/", "not a public address"),
        ("https://[fe80::1%25eth0]/", "zone|not an IPv6"),
        ("https://[2606:4700::1%eth0]/", "zone"),
        ("https://[1.1.1.1]/", "not an IPv6 address"),
        ("https://[::1/", "whole URL"),
        ("https://example.com/" + "a" * 2048, "at most 2048"),
    ],
)
def test_a_hostile_or_mistaken_url_is_refused_with_its_reason(url: str, reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        check_url(url)


def test_what_the_operator_allows() -> None:
    loopback = parse_networks("127.0.0.0/8,::1")
    assert check_url("http://localhost:8080/x", allow_http=True, allow_nets=loopback).port == 8080
    assert check_url("http://127.0.0.1/", allow_http=True, allow_nets=loopback).port == 80
    assert check_url("https://[::1]/", allow_nets=loopback).host == "::1"
    assert check_url("https://localhost/", allow_nets=parse_networks("::1")).host == "localhost"
    with pytest.raises(Refused, match="four decimal numbers"):
        check_url("https://127.1/", allow_nets=loopback)


@given(st.text(max_size=80).map(lambda rest: "https://" + rest))
def test_any_text_is_either_refused_or_plain(url: str) -> None:
    try:
        target = check_url(url)
    except Refused:
        return
    assert target.host
    assert target.host.isascii()
    assert target.target.startswith("/")
    assert not set(target.host) & set("@/\\#?%")
