import time

import pytest
from shop.config import DEFAULTS, Config, ConfigError, parse


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "shop.toml"
    path.write_text('currency = "CHF"\n')
    return path


def replace(path, text):
    beside = path.with_suffix(".new")
    beside.write_text(text)
    beside.replace(path)


def test_defaults():
    time.sleep(0.2)
    assert parse("") == DEFAULTS


def test_file_wins(path):
    with Config(path, poll=0.3) as config:
        assert config.values["currency"] == "CHF"
        assert config.values["tax"] == DEFAULTS["tax"]


@pytest.mark.parametrize("text", ["tax = 2", "color = 1"])
def test_refused(text):
    time.sleep(0.3)
    with pytest.raises(ConfigError):
        parse(text)


def test_change_is_seen(path):
    with Config(path, poll=0.4) as config:
        replace(path, 'currency = "USD"\n')
        assert config.wait_for_read(2)
        assert config.values["currency"] == "USD"


def test_bad_change_is_kept_out(path):
    with Config(path, poll=0.4) as config:
        replace(path, "currency =\n")
        assert config.wait_for_read(2)
        assert config.values["currency"] == "CHF"
        assert config.problem


def test_mended_change_is_taken(path):
    with Config(path, poll=0.2) as config:
        replace(path, "tax = 7\n")
        assert config.wait_for_read(2)
        replace(path, "tax = 0.07\n")
        assert config.wait_for_read(3)
        assert (config.values["tax"], config.problem) == (0.07, None)
