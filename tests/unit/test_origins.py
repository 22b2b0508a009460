"""Which pages may talk to the hub."""

from __future__ import annotations

import pytest

from hub.errors import SettingsError
from hub.origins import Origins
from hub.settings import Settings

LOCAL = Origins(Settings(host="127.0.0.1", port=8080, origins="https://app.example.com"))
PUBLIC = Origins(Settings(host="0.0.0.0", public_url="https://jobs.example.com/base/"))
OPEN = Origins(Settings(host="0.0.0.0"))


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:8080", "localhost", "LOCALHOST:1", "[::1]:8080", "app.example.com"],
)
def test_hosts_of_a_loopback_hub(host: str) -> None:
    assert LOCAL.host_is_ours(host)


@pytest.mark.parametrize(
    "host",
    [
        None,
        "",
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.",
        "127.0.0.1@evil",
        "[::1",
        "a b",
    ],
)
def test_rebound_hosts_are_refused(host: str | None) -> None:
    assert not LOCAL.host_is_ours(host)


def test_a_public_hub_takes_any_host() -> None:
    assert PUBLIC.host_is_ours("10.0.0.7:8080")
    assert OPEN.host_is_ours(None)


@pytest.mark.parametrize(
    ("origins", "origin", "host", "may"),
    [
        (LOCAL, None, "127.0.0.1:8080", True),
        (LOCAL, "http://127.0.0.1:8080", "127.0.0.1:8080", True),
        (LOCAL, "http://localhost:8080", "localhost:8080", True),
        (LOCAL, "http://localhost:3000", "localhost:8080", False),
        (LOCAL, "https://app.example.com", "127.0.0.1:8080", True),
        (LOCAL, "http://app.example.com", "127.0.0.1:8080", False),
        (LOCAL, "https://app.example.com.evil.example", "127.0.0.1:8080", False),
        (LOCAL, "https://app.example.com:444", "127.0.0.1:8080", False),
        (LOCAL, "http://app.example.com", "app.example.com", False),
        (LOCAL, "null", "127.0.0.1:8080", False),
        (LOCAL, "", "127.0.0.1:8080", False),
        (LOCAL, "http://[bad", "127.0.0.1:8080", False),
        (LOCAL, "http://127.0.0.1:99999", "127.0.0.1:8080", False),
        (LOCAL, "file://", "127.0.0.1:8080", False),
        (PUBLIC, "https://jobs.example.com", "jobs.example.com", True),
        (PUBLIC, "https://jobs.example.com:443", "whatever", True),
        (PUBLIC, "http://jobs.example.com", "jobs.example.com", False),
        (PUBLIC, "https://other.example.com", "other.example.com", False),
        (OPEN, "https://any.example.com", "any.example.com", True),
        (OPEN, "https://any.example.com", "other.example.com", False),
        (OPEN, "https://any.example.com", None, False),
    ],
)
def test_origins(origins: Origins, origin: str | None, host: str | None, may: bool) -> None:
    assert origins.may(origin, host) is may


def test_only_listed_origins_are_told_so() -> None:
    assert LOCAL.listed("https://app.example.com")
    assert not LOCAL.listed("http://127.0.0.1:8080")
    assert not LOCAL.listed("null")


@pytest.mark.parametrize("origins", ["app.example.com", "https://a/b", "*", "ws://a"])
def test_settings_that_are_no_origins(origins: str) -> None:
    with pytest.raises(SettingsError, match="JOBCAST_ORIGINS"):
        Origins(Settings(origins=origins))


def test_a_public_url_that_is_none() -> None:
    with pytest.raises(SettingsError, match="JOBCAST_PUBLIC_URL"):
        Origins(Settings(public_url="jobs.example.com"))
