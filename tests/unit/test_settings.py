from __future__ import annotations

from dataclasses import fields

import pytest

from hub.errors import SettingsError
from hub.settings import Settings


def test_defaults_need_no_environment() -> None:
    assert Settings.from_env({}) == Settings()


def test_the_environment_and_then_flags() -> None:
    env = {"JOBCAST_PORT": "9000", "JOBCAST_LEASE": "3.5", "JOBCAST_AGENT": "off"}
    settings = Settings.from_env(env, port=9001, host=None)
    assert (settings.port, settings.lease, settings.agent) == (9001, 3.5, False)
    assert settings.host == "127.0.0.1"


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [
        ("JOBCAST_PORT", "http", "whole number"),
        ("JOBCAST_LEASE", "soon", "number of seconds"),
        ("JOBCAST_AGENT", "maybe", "on or off"),
    ],
)
def test_a_wrong_value_is_named(name: str, value: str, what: str) -> None:
    with pytest.raises(SettingsError, match=rf"{name}='{value}'.*{what}"):
        Settings.from_env({name: value})


def test_keys() -> None:
    settings = Settings(api_keys="ci:0123456789abcdef, app:fedcba9876543210:x")
    assert settings.keys() == {"ci": "0123456789abcdef", "app": "fedcba9876543210:x"}


@pytest.mark.parametrize("pairs", ["ci", "ci:short", ":0123456789abcdef"])
def test_a_bad_pair_is_refused_without_telling_the_key(pairs: str) -> None:
    with pytest.raises(SettingsError, match="name:key"):
        Settings(api_keys=pairs).keys()


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"5 bytes.*32.*openssl rand -hex 32"):
        Settings(secret="short").checked_secret()
    assert Settings(secret="x" * 32).checked_secret() == b"x" * 32


def test_every_setting_says_what_it_is() -> None:
    assert all(item.metadata["help"] for item in fields(Settings))
